# shellcheck shell=bash disable=SC2034,SC2153
# The changes, in their order. Each step may be run again, and leaves alone what is done.

# How long to wait for what a killed installer left at work.
LEFTOVER_S=1200

take_lock() {
  mkdir -p -- "$CODE/log"
  exec 9<>"$CODE/.lock"
  if ! flock --nonblock 9; then
    say "An earlier run was cut off, and its last command is still at work: waiting for it to end."
    flock --wait "$LEFTOVER_S" 9 || fail installer-running \
      "another installer works in $CODE." "Wait for it to end, then run this again."
  fi
  echo $$ >"$CODE/.lock"
  local log
  log=$CODE/log/install-$(date +%Y%m%d-%H%M%S).log
  cat "$LOG" >>"$log"
  LOG=$log
}

install_debian_packages() {
  if ((${#MISSING[@]} + ${#OPTIONAL[@]} == 0)); then
    say "      nothing is missing"
    return
  fi
  if ((${#MISSING[@]} > 0)); then install_missing_packages; fi
  install_optional_packages
}

install_missing_packages() {
  run env DEBIAN_FRONTEND=noninteractive apt-get update || fail registry-unreachable \
    "the Debian packages' lists could not be fetched." "Check the network and /etc/apt, then run this again."
  run env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${MISSING[@]}" || fail download-failed \
    "apt-get could not install ${MISSING[*]}." "Run: apt-get install ${MISSING[*]}"
  PACKAGES_TRIED=yes
  check_again
}

# uv, which installs the rest, in a folder of its own in the cache.
install_uv() {
  mkdir -p -- "$CACHE"
  # Installers with other prefixes share the cache.
  exec 8>"$CACHE/uv.lock"
  flock 8
  if [[ -x $UV ]]; then
    say "      it is here already"
  elif [[ $COMPLETE == yes ]]; then
    say "      nothing is to be installed"
  else
    # From the file that the check of the registry fetched.
    export -f get_uv
    export PYTHON
    # shellcheck disable=SC2016  # the inner shell expands these
    fetch env PIP_NO_INDEX=1 "PIP_FIND_LINKS=$TEMP/wheels" bash -ec 'cd -- "$1" && get_uv "$2"' get_uv "$SOURCE" "$CACHE"
  fi
  exec 8>&-
}

# What pip is configured to use, uv uses too, unless it has settings of its own.
pass_on_pip_settings() {
  local index=${PIP_INDEX_URL:-} certificate=${PIP_CERT:-}
  find_pip
  [[ -n $index ]] || index=$("${PIP[@]}" config get global.index-url 2>/dev/null) || true
  [[ -n $certificate ]] || certificate=$("${PIP[@]}" config get global.cert 2>/dev/null) || true
  if [[ -n $index && -z ${UV_DEFAULT_INDEX:-}${UV_INDEX_URL:-} ]]; then export UV_DEFAULT_INDEX=$index; fi
  if [[ -n $certificate && -z ${SSL_CERT_FILE:-} ]]; then export SSL_CERT_FILE=$certificate; fi
  export UV_PYTHON_DOWNLOADS=never UV_NO_PROGRESS=1 UV_LINK_MODE=copy
  unset VIRTUAL_ENV
}

install_packages() {
  if [[ $COMPLETE == yes ]]; then
    say "      release $(basename -- "$RELEASE") is complete"
    return
  fi
  pass_on_pip_settings
  stop_if_running "$RELEASE"
  # What an interrupted run left may be half a package; the downloads are in uv's cache.
  rm -rf -- "$RELEASE"
  mkdir -p -- "$RELEASE"
  fetch "$UV" venv --quiet --no-config --python "$PYTHON" "$RELEASE/venv"
  into_release --require-hashes -r "$SOURCE/requirements/runtime.txt"
  fetch "$UV" build --quiet --wheel --offline --no-config --python "$RELEASE/venv/bin/python" --out-dir "$TEMP/own" "$SOURCE"
  into_release --offline --no-deps "$TEMP"/own/*.whl
}

# into_release ARGUMENTS...: install packages into the release, compiled once and for all.
into_release() { fetch "$UV" pip install --python "$RELEASE/venv/bin/python" --compile-bytecode "$@"; }

# The engine for this machine; the release is complete with it.
install_engine() {
  local wheel
  if [[ $COMPLETE == yes ]]; then
    say "      release $(basename -- "$RELEASE") has it"
    return
  fi
  run --into "$TEMP/engine.json" "$RELEASE/venv/bin/python" -P -m appliance engine build --json
  wheel=$(json 'it["wheel"]' <"$TEMP/engine.json")
  # What the graphics cards could have had was told when it was passed over; the end says it once more.
  PASSED_OVER=$(json '"\n".join("  " + one["reason"] + "\n    Next: " + one["next"] for one in it["passed_over"])' <"$TEMP/engine.json")
  into_release --offline --no-deps "$wheel"
  # Only a release that is on the disk is complete.
  sync -f "$RELEASE"
  basename -- "$(dirname -- "$wheel")" >"$RELEASE/.complete.new"
  mv -T -- "$RELEASE/.complete.new" "$RELEASE/.complete"
}

write_settings() {
  mkdir -p -- "$(dirname -- "$CONFIG")"
  if [[ ! -e $CONFIG ]]; then
    replace "$CONFIG" 644 <<TEXT
# Settings of the appliance. All of them, with their defaults: docs/reference/settings.md
[gateway]
port = $WANTED_PORT

# People sign in with one account: docs/sign-on.md
[identity]
enabled = true
port = $SIGN_ON_PORT$(chat_settings)
TEXT
    say "      $CONFIG is written: port $WANTED_PORT, sign-on at port $SIGN_ON_PORT"
    [[ $CHAT != yes ]] || say "      the chat page at port $CHAT_PORT"
  elif [[ -n $PORT && $(settings_port) != "$PORT" ]]; then
    with_port "$PORT" <"$CONFIG" >"$TEMP/settings"
    replace "$CONFIG" "$(stat -c %a "$CONFIG")" <"$TEMP/settings"
    say "      the port in $CONFIG is now $PORT; nothing else in it was changed"
  else
    say "      $CONFIG stays as it is"
  fi
}

chat_settings() {
  [[ $CHAT == yes ]] || return 0
  cat <<TEXT


# The page that staff chat on: docs/chat-page.md
[chat]
enabled = true
port = $CHAT_PORT
TEXT
}

# with_port PORT: settings from standard input, with the gateway's port in its place.
with_port() {
  awk -v port="$1" '
    /^[[:space:]]*\[/ {
      if (inside && !done) { print "port = " port; done = 1 }
      inside = /^[[:space:]]*\[[[:space:]]*gateway[[:space:]]*\]/
    }
    inside && /^[[:space:]]*port[[:space:]]*=/ { sub(/=[[:space:]]*[0-9_]+/, "= " port); done = 1 }
    { print }
    END { if (!done) { if (!inside) print "\n[gateway]"; print "port = " port } }'
}

# replace FILE MODE: write standard input there, all at once, and only where it differs.
replace() {
  cat >"$TEMP/new"
  cmp --silent "$TEMP/new" "$1" && return
  install -m "$2" -- "$TEMP/new" "$1.new"
  sync "$1.new"
  mv -T -- "$1.new" "$1"
}

# Makes the release the current one, and puts the command and the state folder beside it.
switch_release() {
  local target
  target=releases/$(basename -- "$RELEASE")
  [[ -d $STATE ]] || (umask 077 && mkdir -p -- "$STATE")
  mkdir -p -- "$CODE/bin"
  replace "$CODE/bin/appliance" 755 <<TEXT
#!/bin/sh
# Runs the current release. Its real path, so that what is running stays with its own release after a switch.
[ -n "\${APPLIANCE_CONFIG:-}" ] || APPLIANCE_CONFIG=${CONFIG@Q}
[ -n "\${APPLIANCE_STATE:-}" ] || APPLIANCE_STATE=${STATE@Q}
# Where the installer put the chat page, also for somebody whose HOME is another folder.
[ -n "\${APPLIANCE_CACHE:-}" ] || APPLIANCE_CACHE=${CACHE@Q}
export APPLIANCE_CONFIG APPLIANCE_STATE APPLIANCE_CACHE
exec "\$(readlink -f ${CODE@Q}/current)/venv/bin/python" -P -m appliance "\$@"
TEXT
  link_command
  if [[ $(readlink "$CODE/current") == "$target" ]]; then
    say "      $(basename -- "$RELEASE") is the current release"
    return
  fi
  [[ $START == no ]] || stop_if_running
  ln -sfn -- "$target" "$CODE/current.new"
  mv -T -- "$CODE/current.new" "$CODE/current"
  say "      $(basename -- "$RELEASE") is now the current release"
}

link_command() {
  [[ -n $LINK ]] || return 0
  [[ $(readlink "$LINK") != "$CODE/bin/appliance" ]] || return 0
  if [[ -e $LINK && ! -L $LINK ]]; then
    say "      $LINK is another program's, and stays: use $CODE/bin/appliance"
    return
  fi
  ln -sfn -- "$CODE/bin/appliance" "$LINK.new"
  mv -T -- "$LINK.new" "$LINK"
}

pull_model() { run "$CODE/bin/appliance" models pull; }

start() {
  local running
  if [[ $START == no ]]; then
    say "      left out, as asked; later: $COMMAND up"
    return
  fi
  # What runs may be of another release, or listen on the port of before.
  running=$(running_release)
  if [[ $running != "$RELEASE" || $(served_port) != "$WANTED_PORT" ]]; then
    stop_if_running
    STARTED=yes
    [[ $CHAT != yes ]] || say "      the first start of the chat page takes a minute or two"
  fi
  run "$CODE/bin/appliance" up
}

first_answer() {
  if [[ $STARTED == no ]]; then
    say "      left out: this run started nothing"
    return
  fi
  run "$CODE/bin/appliance" chat "In one sentence: what can you do for a small company?" --max-tokens 48
}

# stop_if_running [RELEASE]: end what runs; with an argument only if it is of that release.
stop_if_running() {
  local running
  running=$(running_release)
  if [[ -n $running && $running == "${1:-$running}" ]]; then
    say "      $(basename -- "$running") is running, and is ended first"
    run "$CODE/bin/appliance" down
  fi
}

say_goodbye() {
  local api chat
  { "$CODE/bin/appliance" status --json || true; } >"$TEMP/status.json" 2>/dev/null
  say ""
  if [[ $START == yes ]]; then say "The appliance is ready."; else say "The appliance is installed, and not started: $COMMAND up"; fi
  api=$(address_of api)
  chat=$(address_of chat)
  if [[ $chat == http://127.* ]]; then
    say "  The chat page, in a browser on this machine:  $chat"
    say "    For everybody else on your network, switch that on: docs/lan.md"
  elif [[ -n $chat ]]; then
    say "  The chat page, in a browser:  $chat"
  else
    say "  There is no chat page${CHAT_WHY:+: it was left out, $CHAT_WHY}. To add it later: docs/chat-page.md"
  fi
  say "  Its API, for programs that speak OpenAI's:  ${api:-http://127.0.0.1:$WANTED_PORT/v1}"
  say "  The command:  $COMMAND"
  [[ $COMMAND == appliance ]] || say "    To call it just appliance:  export PATH=\"$CODE/bin:\$PATH\""
  say "  A key for a person or a program:  $COMMAND keys create --owner NAME"
  say "  The model is a trial model: it shows that the box works, and is too small for real work."
  if [[ -n $PASSED_OVER ]]; then
    say "  WARNING: the engine makes less of this machine's graphics cards than it could:"
    say "$PASSED_OVER"
  fi
  [[ -z $chat ]] || command -v redis-server >/dev/null || say_without_redis
  say "  Settings: $CONFIG   State: $STATE"
  say "  The log of this installation: $LOG"
  hand_over
}

# address_of NAME: one of the addresses that `status` told; nothing where there is none.
address_of() { json "it['urls'].get('$1')" <"$TEMP/status.json" 2>/dev/null || true; }

# Whoever opens the link owns the appliance: it is shown, and goes into no log.
hand_over() {
  local owned
  owned=$({ "$CODE/bin/appliance" status --json || true; } 2>/dev/null | json 'it["owned"] is False' 2>/dev/null) || return 0
  [[ $owned == True ]] || return 0
  say ""
  if [[ $START == no ]]; then
    say "Nobody owns this appliance yet. Once it is started:  $COMMAND users owner-link"
    return
  fi
  say "One last step, in a browser: say who you are, and choose a password. You own this appliance then."
  "$CODE/bin/appliance" users owner-link || say "  The link could not be made: try it with  $COMMAND users owner-link"
}
