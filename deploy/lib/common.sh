# Shared by the scripts in deploy/: messages, packages, the build. Sourced, not run.

root_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
packages=(protobuf-compiler libseccomp-dev libc6-dev nftables iproute2 busybox-static pkg-config gcc curl)
test_packages=(runc skopeo procps strace util-linux)

say() { printf '\033[1m==>\033[0m %s\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

need_root() {
    [ "$(id -u)" = 0 ] || die "$1 needs root: it makes network namespaces and containers. Try: sudo $1"
}

# Installs what is missing of the named Debian packages.
install_packages() {
    local missing=() name
    for name in "$@"; do
        dpkg-query -W -f '${Status}' "$name" 2>/dev/null | grep -q 'ok installed' || missing+=("$name")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    command -v apt-get >/dev/null || die "install these packages and run this again: ${missing[*]}"
    say "Installing ${missing[*]}"
    apt-get update -qq >/dev/null || die "apt-get update failed"
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null ||
        die "apt-get could not install ${missing[*]}"
}

need_cargo() {
    command -v cargo >/dev/null || [ ! -f "$HOME/.cargo/env" ] || . "$HOME/.cargo/env"
    command -v cargo >/dev/null || die "Rust is missing: install it from https://rustup.rs and run this again"
}

# Builds the programs with optimisation.
build_release() {
    need_cargo
    say "Building (a first time takes some minutes)"
    (cd "$root_dir" && cargo build --release --locked --bins) || die "the build failed"
}

# wait_until SECONDS WHAT COMMAND...: until the command succeeds.
wait_until() {
    local seconds=$1 what=$2 deadline
    shift 2
    deadline=$((SECONDS + seconds))
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$deadline" ] || return 1
        sleep 0.2
    done
}
