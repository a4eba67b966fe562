# From here on the text is the same for every service. It needs a POSIX shell, ip(8) and, where the kernel has no tunnel
# device or none was wanted, fairlead-decap: one file, native/build/fairlead-decap of fairlead, to be put on the PATH.
#
# Every change is noted under $state before it is made: what there was before in former/, and in services/ who needs it.
# So a second run finds its own work and drops what is needed no longer, services can share a VIP, a setting or a tunnel
# device, and undo puts back what was there when the last of them goes. A value that somebody changed in between is left.

state=${FAIRLEAD_STATE:-/run/fairlead/server}
mine=$state/services/$service

fail() {
  echo "server-setup: $*" >&2
  exit 1
}

name_of() { echo "$1" | tr '/ ' '__'; }

# needed_by_others THING: another service still counts on it.
needed_by_others() {
  for other in "$state"/services/*; do
    [ "$other" != "$mine" ] && [ -e "$other" ] && grep -qxF "$1" "$other" && return 0
  done
  return 1
}

# note THING FORMER: this service needs it; what there was before is kept by who comes first.
needed=
note() {
  needed="$needed
$1"
  [ -e "$state/former/$(name_of "$1")" ] || [ -z "$2" ] || echo "$2" >"$state/former/$(name_of "$1")"
  grep -qxF "$1" "$mine" 2>/dev/null || echo "$1" >>"$mine"
}

# setting PATH VALUE GOOD...: VALUE, unless what is set is GOOD as well.
setting() {
  path=/proc/sys/$1 value=$2
  [ -w "$path" ] || fail "$path cannot be written here"
  former=$(cat "$path")
  shift 2
  for good in "$value" "$@"; do
    [ "$former" = "$good" ] && note "setting $path" "" && return
  done
  note "setting $path" "$former $value"
  echo "$value" >"$path"
  echo "$path: $former -> $value"
}

# effective KIND DEVICE: the kernel takes the greater of the device's value and that of all.
effective() {
  all=$(cat "/proc/sys/net/ipv4/conf/all/$1") own=$(cat "/proc/sys/net/ipv4/conf/$2/$1")
  [ "$all" -gt "$own" ] && echo "$all" || echo "$own"
}

# loosen DEVICE: clients are not reached through the way that their packets come, as the strict reverse path filter wants.
loosen() {
  [ "$family" = 6 ] && return
  if [ "$(effective rp_filter "$1")" = 1 ] || [ -e "$state/former/$(name_of "setting /proc/sys/net/ipv4/conf/$1/rp_filter")" ]; then
    setting "net/ipv4/conf/$1/rp_filter" 2
  fi
}

# Which of the service's servers is this host? Sets here and dev.
find_self() {
  for here in $servers; do
    # "2: eth0    inet 10.0.1.11/24 ..."
    set -- $(ip -o address show to "$here")
    [ $# -gt 3 ] && dev=${2%@*} && return
  done
  fail "no server of service $service ($servers) is an address of this host"
}

# A VIP anywhere but on lo, or with a network, would be answered on ARP or swallow its neighbours.
check_vips() {
  for vip in $vips; do
    while read -r number link kind address rest; do
      [ -z "$address" ] || [ "$link $address" = "lo $vip/$bits" ] ||
        fail "$vip is on ${link%@*} as $address; take it off first: ip address del $address dev ${link%@*}"
    done <<END
$(ip -o address show to "$vip")
END
  done
}

add_vips() {
  [ "$(cat "/sys/class/net/lo/flags")" = 0x8 ] && ip link set lo up
  for vip in $vips; do
    if [ -n "$(ip -o address show dev lo to "$vip")" ]; then
      note "address $vip/$bits" ""
    else
      note "address $vip/$bits" absent
      ip address add "$vip/$bits" dev lo $nodad
      echo "lo: $vip/$bits added"
    fi
  done
}

quiet_arp() {
  [ "$family" = 6 ] && return # neighbour discovery answers for an interface's own addresses only
  setting net/ipv4/conf/all/arp_ignore 1 2 8
  setting net/ipv4/conf/all/arp_announce 2
}

# GUE's own header is taken off by a socket of the kernel; $fou is its family and port.
add_port() {
  [ -n "$fou" ] || return 0
  trouble=$(ip -f ${fou%% *} fou add ${fou#* } gue 2>&1) && note "fou $fou" absent && return
  case $trouble in *exists*) note "fou $fou" "" ;; *) return 1 ;; esac
}

# A kernel without the device says "Unknown device type".
unwrap_by_kernel() {
  [ -n "$kernel_type" ] || return 1
  modprobe -qa $kernel_modules 2>/dev/null || true
  if ip link show dev "$device" >/dev/null 2>&1; then
    note "device $device" ""
  else
    trouble=$(ip link add name "$device" type $kernel_type local "$here" $kernel_words 2>&1) || return 1
    note "device $device" absent
    echo "$device: $kernel_type from $here, $kernel_words"
  fi
  add_port || { drop "device $device"; return 1; }
  ip link set "$device" up
  loosen "$device"
}

unwrap_by_us() {
  command -v fairlead-decap >/dev/null ||
    fail "fairlead-decap is not here: copy it from fairlead's native/build/ to /usr/local/bin, or use --decap kernel"
  note decap ""
  fairlead-decap attach "$service" --dev "$dev" --at "$1" --tunnel $tunnel --local "$here" $decap_words || exit $?
  echo "$dev: $tunnel is unwrapped at $1"
}

unwrap() {
  case $decap in
    none) ;;
    auto) unwrap_by_kernel || unwrap_by_us tc ;;
    kernel)
      [ -n "$kernel_type" ] || fail "the kernel's tunnel devices know one balancer, not a prefix; use --decap tc or xdp"
      unwrap_by_kernel || fail "this kernel makes no $kernel_type device ($trouble); use --decap tc or xdp"
      ;;
    *) unwrap_by_us "$decap" ;;
  esac
}

# drop THING: this service needs it no longer; it goes, or becomes what it was, with the last who needed it.
drop() {
  grep -qxF "$1" "$mine" 2>/dev/null || return 0
  grep -vxF "$1" "$mine" >"$state/rest" || true
  mv "$state/rest" "$mine"
  [ "$1" != decap ] || fairlead-decap detach "$service"
  former=$state/former/$(name_of "$1")
  [ -e "$former" ] && ! needed_by_others "$1" || return 0
  case $1 in
    setting*) put_back "${1#setting }" $(cat "$former") ;;
    address*) ip address del "${1#address }" dev lo 2>/dev/null && echo "lo: ${1#address } removed" ;;
    device*) ip link del dev "${1#device }" 2>/dev/null && echo "${1#device } removed" ;;
    fou*) former_port=${1#fou } && ip -f ${former_port%% *} fou del ${former_port#* } 2>/dev/null ;;
  esac || true # gone already
  rm -f "$former"
}

put_back() {
  [ -e "$1" ] || return 0
  [ "$(cat "$1")" = "$3" ] || { echo "$1: left at $(cat "$1"), which is not what was set here"; return 0; }
  echo "$2" >"$1"
  echo "$1: $3 -> $2"
}

# drop_all KEPT: all but what stands in KEPT, a thing a line. Addresses first: a VIP must not be there while ARP is answered
# for it.
drop_all() {
  for kind in address setting device fou decap; do
    while read -r thing; do
      echo "$1" | grep -qxF "$thing" || drop "$thing"
    done <<END
$(grep "^$kind" "$mine" || true)
END
  done
}

undo() {
  [ -e "$mine" ] || { echo "nothing is set up here for service $service"; return 0; }
  drop_all ''
  rm -f "$mine"
  rmdir "$state/services" "$state/former" "$state" 2>/dev/null || true
}

apply() {
  find_self
  check_vips
  mkdir -p "$state/services" "$state/former"
  # What fails half-way is undone, unless it stood before.
  [ -e "$mine" ] || trap 'code=$?; [ $code = 0 ] || undo >/dev/null; exit $code' EXIT
  : >>"$mine"
  unwrap
  quiet_arp
  loosen "$dev"
  add_vips
  drop_all "$needed"
  echo "service $service is set up here, on $dev"
}

[ "$(id -u)" = 0 ] || fail "run this as root"
case ${1:-apply} in
  apply) apply ;;
  undo) undo ;;
  *) fail "usage: sh THIS [apply|undo]" ;;
esac
