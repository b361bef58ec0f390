# Sourced by the examples and tests/run.sh: everything a fresh Debian 12 machine lacks, then the package
# in a virtual environment. Call: setup_packages PACKAGE…, then setup_python REQUIREMENT

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

die() {
    echo "$0: $*" >&2
    exit 1
}

need_root() {
    [ "$(id -u)" = 0 ] || die "needs root, for network namespaces: sudo $0"
}

setup_packages() {
    local missing=()
    for package in "$@"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q '^install ok' || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    command -v apt-get >/dev/null || die "install these by hand, there is no apt-get here: ${missing[*]}"
    echo "installing with apt: ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt-get -qq update >/dev/null
    # The lab starts FRR's daemons itself: one started by the package would only be in the way.
    local policy=/usr/sbin/policy-rc.d made=
    [ -e "$policy" ] || { printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod +x "$policy" && made=1; }
    apt-get -qq -y --no-install-recommends install "${missing[@]}" >/dev/null || {
        [ -z "$made" ] || rm -f "$policy"
        die "apt-get could not install: ${missing[*]}"
    }
    [ -z "$made" ] || rm -f "$policy"
}

# The interpreter that ExaBGP, as user nobody, can run too: Debian's own rather than one in a home directory.
find_python() {
    local candidate
    for candidate in /usr/bin/python3 /usr/bin/python3.1[1-9] python3; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    die "needs Python 3.11 or later"
}

# A virtual environment beside the checkout, or in /opt where user nobody cannot get into the checkout.
setup_python() {
    local requirement=$1 python
    python=$(find_python)
    venv=$root/.venv
    setpriv --reuid 65534 --regid 65534 --clear-groups test -x "$root" 2>/dev/null || venv=/opt/haha-exabgp/venv
    [ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
    echo "installing into $venv"
    "$venv/bin/python" -m pip --quiet --disable-pip-version-check install "$requirement" ||
        die "pip could not install $requirement"
}
