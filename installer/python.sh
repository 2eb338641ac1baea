# shellcheck shell=bash
# A Python to build on, and the pinned uv: what the installer and the tests both begin with.

# A company's own certificate authority is in the system's store, not in the one that uv carries.
export UV_SYSTEM_CERTS="${UV_SYSTEM_CERTS:-1}"

# Sets PYTHON to the first Python 3.11 or newer that can make virtual environments; fails when there is none.
find_python() {
  local name
  for name in python3 python3.13 python3.12 python3.11; do
    if "$name" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
      PYTHON=$(command -v "$name")
      return 0
    fi
  done
  return 1
}

# Sets UV to the pinned uv in the cache folder $1, fetched with pip the first time.
get_uv() {
  local home
  home="$1/uv-$(sha256sum requirements/installer.txt | cut -c1-12)"
  UV="$home/bin/uv"
  [ -x "$UV" ] && return 0
  rm -rf "$home.partial"
  mkdir -p "$1"
  "$PYTHON" -m venv "$home.partial"
  "$home.partial/bin/python" -m pip install --quiet --no-input --disable-pip-version-check \
    --require-hashes -r requirements/installer.txt
  mv -T "$home.partial" "$home"
}
