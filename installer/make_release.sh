#!/usr/bin/env bash
# Makes the folder of a release from this checkout: installer/make_release.sh FOLDER
#
# It gets the packages that requirements/runtime.txt pins and the wheel of this checkout, so that an appliance can be
# updated without any registry. Then list and sign it: docs/updates.md
set -euo pipefail
shopt -s inherit_errexit

main() {
  local folder=${1:-} own
  if (($# != 1)) || [[ -z $folder || -e $folder ]]; then
    echo "Usage: installer/make_release.sh FOLDER (which must not be there yet)" >&2
    exit 2
  fi
  folder=$(realpath -m -- "$folder")
  cd -- "$(dirname -- "$(readlink -f "${BASH_SOURCE[0]}")")/.."
  # shellcheck source=installer/python.sh
  . installer/python.sh
  find_python || { echo "There is no Python 3.11 or newer with venv." >&2; exit 3; }
  get_uv "${XDG_CACHE_HOME:-$HOME/.cache}/appliance"
  mkdir -p -- "$folder/wheels"
  "$PYTHON" -m venv "$folder/.venv"
  "$folder/.venv/bin/python" -m pip download --quiet --no-input --disable-pip-version-check --no-deps \
    --only-binary :all: --require-hashes --dest "$folder/wheels" -r requirements/runtime.txt
  rm -rf -- "$folder/.venv"
  "$UV" build --quiet --wheel --offline --no-config --python "$PYTHON" --out-dir "$folder/own" .
  own=$(basename -- "$folder"/own/*.whl)
  mv -- "$folder/own/$own" "$folder/wheels/"
  rm -rf -- "$folder/own"
  own_line "$folder/wheels/$own" | cat requirements/runtime.txt - >"$folder/requirements.txt"
  echo "$folder is ready. Next: appliance update make $folder --version VERSION --serial NUMBER" >&2
}

# own_line WHEEL: how requirements name it, by its hash.
own_line() {
  local name=${1##*/}
  printf 'appliance==%s --hash=sha256:%s\n' "$(cut -d- -f2 <<<"$name")" "$(sha256sum <"$1" | cut -d' ' -f1)"
}

main "$@"
