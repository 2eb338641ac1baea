# shellcheck shell=bash disable=SC2034
# What the installer says, where it also writes it down, how it runs long commands, and how it ends.

# The log stands in the temporary folder until there is consent to change anything.
LOG=$TEMP/log
STEP=
EXPLAINED=
JOB=

log() { printf '%s\n' "$*" >>"$LOG"; }

say() {
  printf '%s\n' "$*"
  log "$*"
}

# complain CODE SENTENCE NEXT: a failure in the form that every command of the appliance uses.
complain() {
  local text="Error ($1): $2
  Next: $3"
  printf '%s\n' "$text" >&2
  log "$text"
}

# exit_code CODE: as the error table of the appliance has it.
exit_code() {
  case $1 in
    wrong-use) echo 2 ;;
    os-unsupported | python-missing | cpu-too-old | memory-too-small | disk-too-small | no-compiler) echo 3 ;;
    needs-yes) echo 4 ;;
    *) echo 1 ;;
  esac
}

# fail CODE SENTENCE NEXT: complain and end.
fail() {
  complain "$@"
  EXPLAINED=yes
  exit "$(exit_code "$1")"
}

# step NAME FUNCTION: one line of the installation's table of contents.
step() {
  STEP_NUMBER=$((STEP_NUMBER + 1))
  STEP=$1
  say "[$STEP_NUMBER/$STEP_COUNT] $STEP"
  "$2"
  STEP=
}

# run [--into FILE] COMMAND...: run it with its output on the screen and in the log; its standard
# output goes to FILE alone. It has its own session, so that a signal to the installer ends all of it,
# and it inherits the lock, so that what outlives a killed installer still keeps others out.
run() {
  local into=/dev/stderr status=0 beat
  if [[ $1 == --into ]]; then
    into=$2
    shift 2
  fi
  log "+ ${*@Q}"
  # shellcheck disable=SC2016  # the inner shell expands these
  setsid env --default-signal=INT,QUIT bash -c \
    'set -o pipefail; "${@:3}" 2>&1 >"$1" | tee -a "$0" | $2' "$LOG" "$into" "${SHOWN:-cat}" "$@" </dev/null &
  JOB=$!
  beat "$JOB" 9>&- &
  beat=$!
  wait "$JOB" || status=$?
  JOB=
  kill "$beat" 2>/dev/null || true
  wait "$beat" 2>/dev/null || true
  return "$status"
}

# beat PID: while a command is silent for twenty seconds, say that it is still at work.
beat() {
  local began=$SECONDS
  # Opened for reading and writing, a pipe never ends: `read` sleeps without another process.
  exec 7<> <(:)
  while read -r -t 20 -u 7 || [[ -d /proc/$1 ]]; do
    if (($(date +%s) - $(stat -c %Y "$LOG") >= 20)); then
      say "      still at work, $((SECONDS - began)) seconds so far"
    fi
  done
}

# fetch COMMAND...: run a package installer; a failure is told by its kind. What is downloaded is
# shown, and only the log lists what was installed.
fetch() {
  local before status=0 SHOWN='sed -u -E /^(Using|.[+])/d'
  before=$(wc -l <"$LOG")
  run "$@" || status=$?
  ((status == 0)) || explain_fetch "$(tail -n "+$((before + 2))" "$LOG")"
}

explain_fetch() {
  local next="Run the same command again: what has arrived is not fetched twice. The whole log is $LOG"
  case $1 in
    *[Hh]"ash mismatch"* | *"DO NOT MATCH"*)
      fail wrong-hash "a package is not the file that was pinned." \
        "Do not use this registry or mirror until it is explained. The log names the package: $LOG" ;;
    *"No space left"* | *"os error 28"*)
      fail disk-too-small "the disk became full while packages were installed." "Free some room. $next" ;;
    *"error sending request"* | *"dns error"* | *"tcp connect"* | *"onnection"* | *"imed out"* | *"Failed to fetch"*)
      fail registry-unreachable "the package registry stopped answering." "$next" ;;
    *) return 1 ;;
  esac
}

# json EXPRESSION: print a value of the JSON document `it` on standard input; nothing where it is null.
json() { "$PYTHON" -P -c "import json, sys; it = json.load(sys.stdin); print(($1) or '')"; }

on_signal() {
  stop_job
  EXPLAINED=yes
  printf '\n'
  say "Interrupted. Run the same command again: it goes on where it was."
  exit 130
}

# End a command that is under way, with all that it started.
stop_job() {
  [[ -n $JOB ]] || return 0
  kill -TERM -- "-$JOB" 2>/dev/null || true
  wait "$JOB" 2>/dev/null || true
  JOB=
}

on_exit() {
  local status=$?
  trap - EXIT
  trap '' INT TERM HUP
  stop_job
  if ((status != 0)) && [[ -z $EXPLAINED ]]; then
    {
      printf '\nThe installation stopped%s. The last lines of the log:\n' "${STEP:+ in the step \"$STEP\"}"
      tail -n 12 "$LOG" | sed 's/^/  | /'
      printf '  Next: mend what they say, then run the same command again: it goes on where it stopped.\n'
      [[ $LOG == "$TEMP"/* ]] || printf '  The whole log: %s\n' "$LOG"
    } >&2
  fi
  rm -rf -- "$TEMP"
  exit "$status"
}
