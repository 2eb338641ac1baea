#!/usr/bin/env bash
# Installs the appliance from this checkout, or brings an installation up to it: installer/install.sh --help
#
# All checks come before the first change. Every step may be run again, so a run that was
# interrupted is mended by the next. Everything that is said also goes to a dated log.
set -euo pipefail
shopt -s inherit_errexit

usage() {
  cat <<'TEXT'
Usage: installer/install.sh [options]

Checks this machine, installs the appliance with the model that comes without a hub and the page
that staff chat on, starts it and asks it a first question. Safe to run again: what is done is
left alone.

  --prefix DIR   install into DIR; without it: /opt/appliance, /etc/appliance and /var/lib/appliance
                 as root on a machine that runs systemd, else ~/.local/share/appliance
  --port N       the API listens on port N of this machine (8080); changes the port of an installation
  --embedded     take the model that comes without a hub; today the only one, so it need not be said
  --no-chat-page leave out the page that staff chat on (Open WebUI, 1.2 GB); settings that are there
                 already decide for themselves
  --no-start     install, but neither start it nor ask it anything
  --yes          do not ask before the first change
  --dry-run      make the checks, say what would be done, and change nothing
  -h, --help     show this

Exit codes: 0 done, 1 failed, 2 wrong use, 3 this machine cannot, 4 needs a yes, 130 interrupted.
TEXT
}

read_options() {
  PREFIX='' PORT='' YES=no DRY_RUN=no START=yes CHAT_WANTED=yes
  while (($# > 0)); do
    case $1 in
      --prefix | --port)
        (($# > 1)) && [[ -n $2 ]] || fail wrong-use "$1 needs a value." "See: installer/install.sh --help"
        if [[ $1 == --prefix ]]; then PREFIX=$2; else PORT=$2; fi
        shift ;;
      --prefix=?*) PREFIX=${1#*=} ;;
      --port=?*) PORT=${1#*=} ;;
      --embedded) ;;
      --no-chat-page) CHAT_WANTED=no ;;
      --no-start) START=no ;;
      --yes) YES=yes ;;
      --dry-run) DRY_RUN=yes ;;
      -h | --help) usage && exit 0 ;;
      *) fail wrong-use "there is no option $1." "See: installer/install.sh --help" ;;
    esac
    shift
  done
  [[ -z $PORT ]] || { [[ $PORT =~ ^[1-9][0-9]{0,4}$ ]] && ((PORT <= 65535)); } ||
    fail wrong-use "--port $PORT is not a port." "Give a number from 1 to 65535."
}

# Where things go. What the environment says is meant for the installed command, not for this.
choose_layout() {
  unset APPLIANCE_CONFIG APPLIANCE_STATE APPLIANCE_CACHE
  LINK=''
  if [[ -z $PREFIX && -d /run/systemd/system ]] && is_root; then
    CODE=/opt/appliance CONFIG=/etc/appliance/appliance.toml STATE=/var/lib/appliance LINK=/usr/local/bin/appliance
    # Not in root's own folder, where the services may not look.
    CACHE=/var/cache/appliance
    export APPLIANCE_CACHE=$CACHE
  else
    CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/appliance
    CODE=$(realpath -ms -- "${PREFIX:-${XDG_DATA_HOME:-$HOME/.local/share}/appliance}")
    CONFIG=$CODE/etc/appliance.toml STATE=$CODE/var
  fi
  UV=$CACHE/uv-$(sha256sum <"$SOURCE/requirements/installer.txt" | cut -c1-12)/bin/uv
  RELEASE=$CODE/releases/$(release_name)
  PACKAGES_TRIED=no COMPLETE=no STARTED=no PASSED_OVER='' SIGN_ON_PORT=8085 CHAT_PORT=8090
  if release_complete; then COMPLETE=yes; fi
  WANTED_PORT=${PORT:-$(settings_port)}
  COMMAND=$CODE/bin/appliance
  if [[ -n $LINK || :$PATH: == *":$CODE/bin:"* ]]; then COMMAND=appliance; fi
}

# Version and contents of this checkout, without what a run of it leaves behind.
release_name() {
  local version digest
  version=$(sed -n 's/^version = "\(.*\)"$/\1/p' "$SOURCE/pyproject.toml" | head -n 1)
  digest=$(cd "$SOURCE" && find appliance requirements pyproject.toml README.md -type f \
    ! -path '*/.*' ! -path '*/__pycache__/*' ! -name '*.pyc' -print0 |
    LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum | cut -c1-12)
  printf '%s-%s' "$version" "$digest"
}

# Complete means: finished, its Python still works, and its engine is the one for this machine.
release_complete() {
  [[ -e $RELEASE/.complete ]] && [[ $("$RELEASE/venv/bin/python" -P -c '
from appliance.config.paths import cache_folder
from appliance.engine.build import expected
from appliance.hardware.probe import probe
print(expected(probe(), cache_folder()).key)' 2>/dev/null) == "$(cat "$RELEASE/.complete")" ]]
}

# Whether there is an NVIDIA card, with or without a driver.
has_nvidia() {
  local file
  for file in /sys/bus/pci/devices/*/vendor; do
    [[ -r $file && $(<"$file") == 0x10de && $(<"${file%vendor}class") == 0x03* ]] && return 0
  done
  return 1
}

# The port in the settings file, or the default one. A file that cannot be read is told of by `up`.
settings_port() {
  local port=''
  [[ ! -r $CONFIG ]] || port=$(awk '
    /^[[:space:]]*\[/ { inside = /^[[:space:]]*\[[[:space:]]*gateway[[:space:]]*\]/ }
    inside && /^[[:space:]]*port[[:space:]]*=/ { sub(/^[^=]*=[[:space:]]*/, ""); sub(/[^0-9].*/, ""); print; exit }
  ' "$CONFIG")
  printf '%s' "${port:-8080}"
}

# The process that tells the release: the supervisor, or where systemd is that, one of the services.
RUNS='(it["supervisor"] if it["supervisor"] != 1 else [one["pid"] for one in it["processes"] if one["name"] == "serve"][0])'

# The release of what is running here; nothing when nothing is.
running_release() {
  local process program
  [[ -x $CODE/bin/appliance ]] || return 0
  # Where something is wrong, `status` says what and exits with 1.
  process=$({ "$CODE/bin/appliance" status --json || true; } 2>/dev/null | json "$RUNS" 2>/dev/null) || return 0
  [[ -n $process ]] || return 0
  IFS= read -r -d '' program <"/proc/$process/cmdline" || return 0
  printf '%s' "${program%/venv/bin/python*}"
}

# The port that what is running here listens on; nothing when nothing is running.
running_port() { if [[ -n $(running_release) ]]; then served_port; fi; }

served_port() {
  json '[one["probe"]["port"] for one in it if one["name"] == "serve"][0]' <"$STATE/run/processes.json" 2>/dev/null || true
}

show_plan() {
  local new=yes
  [[ $COMPLETE == no ]] || new=no
  say "This is what will be done:"
  ((${#MISSING[@]} == 0)) || say "  - install the Debian packages ${MISSING[*]}"
  [[ $new == no || -x $UV ]] || say "  - fetch uv, which installs packages, into $CACHE"
  [[ $new == no ]] || say "  - install Python packages, pinned by hash, into $RELEASE"
  if [[ $new == yes ]] && engine_cached; then
    say "  - take the engine that was built earlier from $CACHE/engine"
  elif [[ $new == yes ]]; then
    say "  - compile the engine for this machine: 5 to 15 minutes, in $CACHE/engine"
    if has_nvidia; then say "    (for the NVIDIA card up to 40 minutes, and 6 GiB of room while it is built)"; fi
  fi
  [[ $new == yes ]] || say "  - leave the release $(basename -- "$RELEASE") as it is: it is complete"
  plan_chat_page
  plan_services
  if [[ ! -e $CONFIG ]]; then
    local page=''
    [[ $CHAT != yes ]] || page=", and the chat page at port $CHAT_PORT"
    say "  - write the settings $CONFIG with port $WANTED_PORT, and sign-on at port $SIGN_ON_PORT$page"
  elif [[ $(settings_port) != "$WANTED_PORT" ]]; then
    say "  - set the port in $CONFIG to $WANTED_PORT, and change nothing else in it"
  else
    say "  - leave the settings $CONFIG as they are"
  fi
  [[ $CODE/current -ef $RELEASE ]] || say "  - make it the current release, with the command ${LINK:-$CODE/bin/appliance}"
  compgen -G "$STATE/models/*.gguf" >/dev/null || say "  - fetch the model into $STATE"
  [[ $START == no ]] || say "  - start it on port $WANTED_PORT and ask it a first question, unless it runs already"
}

get_consent() {
  local answer=''
  if [[ $DRY_RUN == yes ]]; then
    say "Nothing was changed: this was a dry run."
    exit 0
  fi
  [[ $YES == no ]] || return 0
  if [[ -t 0 ]]; then
    read -r -p "Go ahead? Type yes: " answer || true
  fi
  [[ $answer == yes ]] || fail needs-yes "Nothing was changed." "To go ahead, run it again with --yes"
}

main() {
  SOURCE=$(cd -- "$(dirname -- "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)
  HOME=${HOME:-$(getent passwd "$(id -u)" | cut -d: -f6)}
  TEMP=$(mktemp -d -t appliance-install.XXXXXX)
  STEP_NUMBER=0 STEP_COUNT=13
  # shellcheck source=installer/console.sh
  . "$SOURCE/installer/console.sh"
  # shellcheck source=installer/python.sh
  . "$SOURCE/installer/python.sh"
  # shellcheck source=installer/checks.sh
  . "$SOURCE/installer/checks.sh"
  # shellcheck source=installer/chat_page.sh
  . "$SOURCE/installer/chat_page.sh"
  # shellcheck source=installer/services.sh
  . "$SOURCE/installer/services.sh"
  # shellcheck source=installer/steps.sh
  . "$SOURCE/installer/steps.sh"
  trap on_exit EXIT
  trap on_signal INT TERM HUP

  read_options "$@"
  choose_layout
  check_machine
  show_plan
  get_consent
  take_lock

  step "Debian packages" install_debian_packages
  step "User and folders" make_user
  step "Package installer" install_uv
  step "Python packages" install_packages
  step "Engine" install_engine
  step "Chat page" install_chat_page
  step "Settings" write_settings
  step "Switch to the release" switch_release
  step "Services" install_services
  step "Firewall" open_firewall
  step "Model" pull_model
  step "Start" start
  step "First answer" first_answer
  say_goodbye
}

main "$@"
