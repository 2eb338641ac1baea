# shellcheck shell=bash disable=SC2034,SC2153
# What makes it part of a system that runs systemd: its user and folders, its services, its ports in the firewall.
# All of it is taken away again by installer/uninstall.sh.

UNITS=/etc/systemd/system
TARGET=appliance.target
CARE=appliancecare.timer
MEND=appliancemend.service

# Only where it is installed for the whole system; else a supervisor of ours keeps it up.
is_system() { [[ -n $LINK ]]; }

plan_services() {
  is_system || return 0
  say "  - make the user appliance, who may do nothing else, and the services $UNITS/appliance*, which start with the machine"
  say "  - open the ports of HTTPS in the firewall, if the settings have the network switched on and a firewall runs"
}

make_user() {
  if ! is_system; then
    say "      not needed: it runs as $(id -un)"
    return
  fi
  replace /usr/lib/sysusers.d/appliance.conf 644 <"$SOURCE/systemd/sysusers.conf"
  replace /usr/lib/tmpfiles.d/appliance.conf 644 <"$SOURCE/systemd/tmpfiles.conf"
  run systemd-sysusers /usr/lib/sysusers.d/appliance.conf
  # What another installation had made as root is the services' own from now on.
  mkdir -p -- "$STATE" "$CACHE" "$(dirname -- "$CONFIG")"
  run systemd-tmpfiles --create /usr/lib/tmpfiles.d/appliance.conf
  run chown -R --no-dereference appliance:appliance "$STATE" "$CACHE" "$(dirname -- "$CONFIG")"
  say "      the user appliance owns $STATE"
}

install_services() {
  local file
  if ! is_system; then
    say "      none: this is not installed for the whole system, and $COMMAND up starts it"
    return
  fi
  for file in "$SOURCE"/systemd/*.service "$SOURCE"/systemd/*.timer "$SOURCE/systemd/$TARGET" "$SOURCE"/systemd/*.service.d/*; do
    mkdir -p -- "$(dirname -- "$UNITS/${file#"$SOURCE/systemd/"}")"
    replace "$UNITS/${file#"$SOURCE/systemd/"}" 644 <"$file"
  done
  run systemctl daemon-reload
  run systemctl enable --quiet "$TARGET" "$MEND"
  run systemctl enable --quiet --now "$CARE"
  say "      they start with the machine, and each that ends or hangs is started anew"
}

# --- the firewall -------------------------------------------------------------------------------------

# What was opened, one rule a line, so that it can be closed again.
opened_file() { printf '%s' "$CODE/log/opened-ports"; }

open_firewall() {
  local port wall ports
  if ! is_system; then
    say "      left alone"
    return
  fi
  ports=$(lan_ports)
  if [[ -z $ports ]]; then
    say "      nothing to open: the settings do not have the network switched on (docs/lan.md)"
    return
  fi
  wall=$(firewall)
  for port in $ports; do
    case $wall in
      ufw) run ufw allow "$port/tcp" ;;
      firewalld) run firewall-cmd --quiet --permanent --add-port="$port/tcp" ;;
      nft)
        say "      WARNING: this machine has rules of nftables of its own. If they keep port $port closed, let TCP to it in."
        continue ;;
      *)
        say "      no firewall runs here: port $port is open already"
        continue ;;
    esac
    grep -qxF "$wall $port" "$(opened_file)" 2>/dev/null || printf '%s %s\n' "$wall" "$port" >>"$(opened_file)"
    say "      $wall lets port $port in"
  done
  [[ $wall != firewalld ]] || run firewall-cmd --quiet --reload
}

# Which firewall is at work: ufw, firewalld, nft or nothing.
firewall() {
  if command -v ufw >/dev/null && ufw status 2>/dev/null | grep -q '^Status: active'; then
    printf ufw
  elif command -v firewall-cmd >/dev/null && firewall-cmd --quiet --state 2>/dev/null; then
    printf firewalld
  elif command -v nft >/dev/null && [[ -n $(nft list ruleset 2>/dev/null) ]]; then
    printf nft
  fi
}

# The ports that people on the network use, by the settings; nothing where the network is switched off.
lan_ports() {
  "$RELEASE/venv/bin/python" -P -c '
import sys
from pathlib import Path
from appliance.config.load import load
lan = load(Path(sys.argv[1])).lan
print(lan.https_port, lan.sign_on_port, lan.http_port) if lan.enabled else None' "$CONFIG" 2>/dev/null || true
}
