# shellcheck shell=bash disable=SC2034,SC2153
# The chat page that staff use: whether this machine gets it, and the step that installs it.
#
# It is what most people want, and the rest works without it. So a machine that cannot have it goes without, said in one
# sentence; and a download that breaks is a failure, since nobody would look for a page that is missing from
# an installation that says it is done.

# Room for what is fetched and unpacked, as `appliance chat-page install` asks for it.
CHAT_ROOM=$((2 * GIB))
# Beside what the rest needs. The page with documents in use was measured at 0.4 GiB.
CHAT_MEMORY=$((512 * MIB))

# `yes` where it is to be installed, `later` while there is no Python to ask; else CHAT_WHY says why not.
CHAT=no
CHAT_WHY=
# Debian packages that it is better with, and that root can have installed.
OPTIONAL=()
OPTIONAL_TRIED=no

check_chat_page() {
  CHAT=no CHAT_WHY='' OPTIONAL=()
  if [[ -z $PYTHON ]]; then
    [[ -e $CONFIG || $CHAT_WANTED == no ]] || CHAT=later
    return
  fi
  if [[ -e $CONFIG ]]; then
    # What an admin has switched on is not passed over; where it cannot be, the step says so.
    if chat_switched_on; then CHAT=yes; else CHAT_WHY="$CONFIG does not have it switched on"; fi
  elif [[ $CHAT_WANTED == no ]]; then
    CHAT_WHY="as asked"
  else
    CHAT_WHY=$(chat_hindrance)
    if [[ -z $CHAT_WHY ]]; then CHAT=yes; fi
  fi
  if [[ $CHAT == no ]]; then
    say "  --  chat page: left out, $CHAT_WHY"
    return
  fi
  passed "chat page: this machine can have it"
  check_redis
}

# Whether the settings that are there have it switched on. A file that cannot be read is told of by `up`.
chat_switched_on() {
  "$PYTHON" -P -c '
import sys, tomllib
with open(sys.argv[1], "rb") as file:
    found = tomllib.load(file).get("chat", {}).get("enabled")
sys.exit(found is not True)' "$CONFIG" 2>/dev/null
}

# Why this machine cannot have it; nothing where it can.
chat_hindrance() {
  local found needed
  found=$(machine_memory)
  needed=$((MEMORY + CHAT_MEMORY))
  if memory_below "$needed"; then
    printf 'for it takes %s of memory with the rest, and there are %s' "$(gib $needed)" "$(gib "$found")"
    return
  fi
  found=$(free_bytes "$CACHE")
  needed=$(chat_room)
  if ((found < needed)); then
    printf 'for it takes %s on the disk of %s with the rest, and there are %s' "$(gib "$needed")" "$CACHE" "$(gib "$found")"
    return
  fi
  found=$(chat_python_version)
  case $found in
    3.11 | 3.12) ;;
    *)
      command -v python3.12 >/dev/null || command -v python3.11 >/dev/null ||
        printf 'for it runs on Python 3.11 or 3.12, and this machine has %s' "$found" ;;
  esac
}

# Bytes that must be free where it goes: for itself, and for what else goes to the same disk.
chat_room() {
  local room=$CHAT_ROOM
  [[ ! -e $(chat_page_ready) ]] || room=0
  if [[ $COMPLETE == no ]]; then
    engine_cached || room=$((room + CACHE_ROOM))
    [[ $(disk_of "$CACHE") != "$(disk_of "$CODE")" ]] || room=$((room + PREFIX_ROOM))
  fi
  printf '%s' "$room"
}

disk_of() { stat -c %d -- "$(existing_parent "$1")"; }

# Of the Python that the release has, or is to have.
chat_python_version() {
  local python=$PYTHON
  [[ $COMPLETE == no ]] || python=$RELEASE/venv/bin/python
  "$python" -P -c 'import sys; print("%d.%d" % sys.version_info[:2])'
}

# The file that says that it is installed, where the release will look for it.
chat_page_ready() {
  local about
  about=$({ cat -- "$SOURCE/appliance/chat/openwebui.txt" && printf %s "$(chat_python_version)"; } | sha256sum | cut -c1-12)
  printf '%s' "$CACHE/openwebui-$about/ready"
}

# Redis is what makes a sign-out count at once in the page itself. Not worth a failure.
check_redis() {
  ! command -v redis-server >/dev/null || return 0
  # Only a new installation gets it: later, whoever has none may not want it.
  if [[ ! -e $CONFIG && $OPTIONAL_TRIED == no ]] && is_root && command -v apt-get >/dev/null; then
    OPTIONAL=(redis-server)
    say "  --  found no redis-server, by which signing out of the chat page counts at once: it will be installed"
  else
    say_without_redis
  fi
}

say_without_redis() {
  say "  WARNING: there is no redis-server. Without it a browser can go on reading its own conversations on the chat page,"
  say "    but not ask, for up to 30 minutes after its sign-out. As root, run: apt-get install redis-server"
}

install_optional_packages() {
  ((${#OPTIONAL[@]} > 0)) || return 0
  OPTIONAL_TRIED=yes
  if run env DEBIAN_FRONTEND=noninteractive apt-get update &&
    run env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${OPTIONAL[@]}"; then
    # Only the program is used, as a process of the appliance: a server that nobody asks need not run.
    [[ ! -d /run/systemd/system ]] || run systemctl disable --now redis-server || true
  else
    say "      ${OPTIONAL[*]} could not be installed; the installation goes on without it"
    say_without_redis
  fi
}

plan_chat_page() {
  [[ $CHAT != no ]] || return 0
  ((${#OPTIONAL[@]} == 0)) || say "  - install the Debian package ${OPTIONAL[*]}"
  if [[ $CHAT == later ]]; then
    say "  - if that Python can run it, fetch the chat page, Open WebUI: 0.3 GB, 1.2 GB unpacked, and the Debian package redis-server"
  elif [[ -e $(chat_page_ready) ]]; then
    say "  - take the chat page that was unpacked earlier from $CACHE"
  else
    say "  - fetch the chat page, Open WebUI, into $CACHE: 0.3 GB, 1.2 GB unpacked"
  fi
}

install_chat_page() {
  local status=0
  if [[ $CHAT == no ]]; then
    say "      left out, $CHAT_WHY"
    return
  fi
  if [[ -e $(chat_page_ready) ]]; then
    say "      it is here already"
    return
  fi
  run "$RELEASE/venv/bin/python" -P -m appliance chat-page install || status=$?
  ((status != 0)) || return 0
  [[ ! -e $CONFIG ]] || fail download-failed \
    "the settings have the chat page switched on, and it could not be installed, for the reason above." \
    "Mend that, or set enabled = false under [chat] in $CONFIG. Then run the same command again."
  # As the error table has it: this machine cannot.
  if ((status == 3)); then
    CHAT=no CHAT_WHY="for the reason that its step gave"
    say "      the chat page is left out for this reason, and the installation goes on without it"
    return
  fi
  fail download-failed "the chat page could not be installed, for the reason above." \
    "Run the same command again: it goes on where it stopped. To go without the page, add --no-chat-page"
}
