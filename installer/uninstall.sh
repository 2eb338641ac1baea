#!/usr/bin/env bash
# Takes away what installer/install.sh has made: installer/uninstall.sh --help
set -euo pipefail
shopt -s inherit_errexit nullglob

usage() {
  cat <<'TEXT'
Usage: installer/uninstall.sh [options]

Ends the appliance and removes its programs, command and services. Data and settings stay unless
you say otherwise: people, keys, books, conversations, models.

  --prefix DIR   the installation in DIR; without it, the one of the whole system as root on a machine
                 that runs systemd, else the one in ~/.local/share/appliance
  --keep-data    leave data and settings where they are, and do not ask
  --purge        delete data and settings too. There is no way back, unless there is a backup
  --yes          do not ask before the first change; without --purge, data and settings stay
  -h, --help     show this

Exit codes: 0 done, 1 failed, 2 wrong use, 4 needs a yes.
TEXT
}

say() { printf '%s\n' "$*"; }

# fail EXIT CODE SENTENCE NEXT
fail() {
  printf 'Error (%s): %s\n  Next: %s\n' "$2" "$3" "$4" >&2
  exit "$1"
}

read_options() {
  PREFIX='' YES=no DATA=''
  while (($# > 0)); do
    case $1 in
      --prefix)
        (($# > 1)) && [[ -n $2 ]] || fail 2 wrong-use "--prefix needs a value." "See: installer/uninstall.sh --help"
        PREFIX=$2
        shift ;;
      --prefix=?*) PREFIX=${1#*=} ;;
      --keep-data) DATA=keep ;;
      --purge) DATA=purge ;;
      --yes) YES=yes ;;
      -h | --help) usage && exit 0 ;;
      *) fail 2 wrong-use "there is no option $1." "See: installer/uninstall.sh --help" ;;
    esac
    shift
  done
}

choose_layout() {
  SYSTEM=no
  if [[ -z $PREFIX && -d /run/systemd/system && $(id -u) == 0 ]]; then
    SYSTEM=yes CODE=/opt/appliance SETTINGS=/etc/appliance STATE=/var/lib/appliance
  else
    CODE=$(realpath -ms -- "${PREFIX:-${XDG_DATA_HOME:-$HOME/.local/share}/appliance}")
    SETTINGS=$CODE/etc STATE=$CODE/var
  fi
  [[ -e $CODE/releases || -e $CODE/bin/appliance || -d $STATE ]] ||
    fail 1 not-installed "there is no appliance in $CODE." "Name its folder with --prefix DIR."
}

ask() {
  local answer=''
  [[ -t 0 ]] && read -r -p "$1 Type yes: " answer
  [[ $answer == yes ]]
}

get_consent() {
  say "This removes the programs in $CODE, the command, and what starts it."
  if [[ $YES == no ]]; then
    ask "Go ahead?" || fail 4 needs-yes "nothing was changed." "To go ahead, run it again with --yes"
    if [[ -z $DATA ]] && ask "Delete all data and settings in $STATE and $SETTINGS as well?"; then DATA=purge; fi
  fi
  [[ $DATA == purge ]] || say "Data and settings stay: $STATE and $SETTINGS"
}

end_it() {
  if [[ -x $CODE/bin/appliance ]] && ! "$CODE/bin/appliance" down; then
    say "      it could not be asked to end"
  fi
}

remove_services() {
  local units=(/etc/systemd/system/appliance*.{service,timer} /etc/systemd/system/appliance.target)
  local wants=(/etc/systemd/system/appliance.target.wants/*)
  systemctl disable --quiet --now appliancecare.timer appliancemend.service appliance.target "${wants[@]##*/}" 2>/dev/null || true
  # What was set beyond the files, such as how much memory each may take.
  rm -rf -- /etc/systemd/system.control/appliance-*
  rmdir --ignore-fail-on-non-empty /etc/systemd/system.control 2>/dev/null || true
  rm -rf -- "${units[@]}" /etc/systemd/system/appliance*.service.d /etc/systemd/system/appliance.target.wants
  systemctl daemon-reload
  systemctl reset-failed 'appliance*' 2>/dev/null || true
}

close_firewall() {
  local wall port
  [[ -e $CODE/log/opened-ports ]] || return 0
  while read -r wall port; do
    case $wall in
      ufw) ufw delete allow "$port/tcp" || say "      ufw: close port $port by hand" ;;
      firewalld) firewall-cmd --quiet --permanent --remove-port="$port/tcp" || say "      firewalld: close port $port by hand" ;;
    esac
  done <"$CODE/log/opened-ports"
  if command -v firewall-cmd >/dev/null; then firewall-cmd --quiet --reload || true; fi
}

remove_programs() {
  local link=/usr/local/bin/appliance name
  if [[ $SYSTEM == yes ]]; then
    close_firewall
    if [[ $(readlink "$link") == "$CODE/bin/appliance" ]]; then rm -f -- "$link"; fi
    rm -rf -- /var/cache/appliance "$CODE"
    rm -f -- /usr/lib/tmpfiles.d/appliance.conf /usr/lib/sysusers.d/appliance.conf
    return
  fi
  for name in bin current log releases .lock; do rm -rf -- "${CODE:?}/$name"; done
  say "The cache, which other installations may use, stays: ${XDG_CACHE_HOME:-$HOME/.cache}/appliance"
}

# A folder that is a disk of its own stays as an empty one.
empty_and_remove() {
  if mountpoint --quiet -- "$1"; then
    find "$1" -mindepth 1 -xdev ! -name lost+found -delete
  else
    rm -rf -- "$1"
  fi
}

remove_data() {
  [[ $DATA == purge ]] || return 0
  empty_and_remove "$STATE"
  empty_and_remove "$SETTINGS"
  if [[ $SYSTEM == no ]]; then
    rmdir --ignore-fail-on-non-empty -- "$CODE"
    return
  fi
  if id appliance >/dev/null 2>&1; then userdel appliance; fi
}

main() {
  HOME=${HOME:-$(getent passwd "$(id -u)" | cut -d: -f6)}
  read_options "$@"
  choose_layout
  get_consent
  end_it
  if [[ $SYSTEM == yes ]]; then remove_services; fi
  remove_programs
  remove_data
  say "The appliance is removed."
}

main "$@"
