#!/usr/bin/env bash
# A device keeps doing DMA while the kernel of its host is replaced: a whole live update, told with curl and jq.
#
#   examples/live-update.sh
#
# It talks to the service that `npm start` runs; HOLDOVER_URL and HOLDOVER_KEY name another one, and the key of a tenant.
# Every claim is checked: the script ends with a message and a status other than 0 at the first that does not hold.
set -euo pipefail

readonly URL=${HOLDOVER_URL:-http://127.0.0.1:8080}
readonly KEY=${HOLDOVER_KEY:-dev-key}
readonly D1=0000:01:00.0
readonly MEMORY=67108864 IOVA=0x100000000
readonly TEXT='written by the VMM before the kexec'
HOST=''

step() { printf '\n%s\n' "$*"; }
say() { printf '  %s\n' "$*"; }
fail() {
  printf '\nFAILED: %s\n' "$*" >&2
  exit 1
}

# request METHOD PATH [BODY]: the body of the answer, and the status on a line of its own.
request() {
  curl -sS -X "$1" "${URL%/}$2" -H "authorization: Bearer $KEY" \
    ${3:+-H 'content-type: application/json' -d "$3"} -w '\n%{http_code}'
}

# api METHOD PATH [BODY]: the body of an answer that has to be a success.
api() {
  local answer
  answer=$(request "$@") || fail "$1 $2: the service cannot be reached"
  [[ ${answer##*$'\n'} == 2?? ]] || fail "$1 $2 answered ${answer##*$'\n'}: ${answer%$'\n'*}"
  printf '%s' "${answer%$'\n'*}"
}

# create PATH BODY FIELD: creates something and tells its number.
create() { api POST "$1" "$2" | jq -er ".$3"; }

# refused ERRNO METHOD PATH [BODY]: the kernel has to refuse, with exactly this errno.
refused() {
  local wanted=$1 answer errno
  shift
  answer=$(request "$@") || fail "$1 $2: the service cannot be reached"
  errno=$(jq -r '.errno // "no errno"' <<<"${answer%$'\n'*}")
  [[ $errno == "$wanted" ]] || fail "$1 $2 should be refused with $wanted, but answered: $answer"
  say "$errno: $(jq -r '.detail' <<<"${answer%$'\n'*}")"
}

# is WHAT EXPECTED ACTUAL
is() { [[ $2 == "$3" ]] || fail "$1 should be $2, but is $3"; }

device() { api GET "$HOST/devices/$D1" | jq -r "$1"; }

# The device reads memory at the IOVA and has to get what the VMM wrote there.
check_dma() {
  local access data
  access=$(jq -nc --arg iova "$IOVA" --argjson length "${#TEXT}" '{accesses: [{op: "read", $iova, $length}]}')
  data=$(api POST "$HOST/devices/$D1/dma" "$access" | jq -r '.results[0] | if .ok then .data | @base64d else tojson end')
  is "what the device reads at $IOVA" "$TEXT" "$data"
  say "DMA at $IOVA reads: $data"
}

# What the drive has written into the last page of the guest's memory: in which round of its own. Records of 32 bytes: IOVA,
# engine, round, time, each of 64 bits, little endian; this is the lower byte of the round, and the one above it.
round_written() {
  api GET "$VMM/memfds/$memfd/data?offset=$((MEMORY - 32))&length=32" | jq -r .data | base64 -d | od -An -tu1 -j16 -N2 |
    { read -r low high && echo $((high * 256 + low)); }
}

# The device may not have been put on a blocking or default domain since this position of the log.
check_no_gap() {
  local gaps
  gaps=$(api GET "$HOST/events?after=$1&limit=1000" |
    jq -r --arg bdf "$D1" '[.items[] | select(.data.bdf == $bdf)
      | select((.kind == "iommu.attach" and .data.domain != "paging") or .kind == "dma.fault") | .message] | join("; ")')
  is 'what stopped the DMA of the device' '' "$gaps"
}

# The log of the host, a line an event: microseconds, kernel, kind and message.
timeline() {
  api GET "$HOST/events?limit=1000" | jq -r '.items[]
    | "\("       \(.time | tonumber / 1000 | floor)"[-8:])  \(.kernel)  \("\(.kind)               "[:16])  \(.message)"'
}

# Whether there is a service, and a key that it knows.
check_service() {
  local tool status key=$KEY
  for tool in curl jq; do
    command -v "$tool" >/dev/null || fail "$tool is needed, and not installed"
  done
  [[ -z ${HOLDOVER_KEY:-} ]] || key='that of HOLDOVER_KEY'
  say "The service is $URL, the key is $key. HOLDOVER_URL and HOLDOVER_KEY name others."
  status=$(curl -sS -o /dev/null -w '%{http_code}' "${URL%/}/v1/hosts" -H "authorization: Bearer $KEY") ||
    fail "nothing answers at $URL: start the service (npm start), or set HOLDOVER_URL to where it is"
  case $status in
    200) ;;
    401 | 403) fail "the service at $URL has no tenant with this key: set HOLDOVER_KEY to the key of one" ;;
    *) fail "what answers at $URL is no Holdover, or not ready (status $status): set HOLDOVER_URL to where it is" ;;
  esac
}

check_service

step '1. A host: VT-d, two NVMe drives on vfio-pci, kernel 1 running.'
HOST=/v1/hosts/$(create /v1/hosts '{"name": "walk-through", "preset": "vmm-lab"}' id)
say "It is $HOST."

step '2. A VMM puts the memory of its guest into a sealed memfd and writes to it.'
VMM=$HOST/processes/$(create "$HOST/processes" '{"name": "vmm"}' pid)
memfd=$(create "$VMM/memfds" "{\"name\": \"ram\", \"size\": $MEMORY, \"flags\": 2}" fd)
api POST "$VMM/memfds/$memfd/seals" '{"seals": 7}' >/dev/null
api PUT "$VMM/memfds/$memfd/data?offset=0" "$(jq -nc --arg text "$TEXT" '{data: ($text | @base64)}')" >/dev/null

step '3. It opens /dev/iommu and the drive, binds them, maps the memory, and attaches the drive to a HWPT.'
iommufd=$(create "$VMM/iommufds" '{}' fd)
cdev=$(create "$VMM/cdevs" "{\"path\": \"$(device .cdev)\"}" fd)
dev=$(api PUT "$VMM/cdevs/$cdev/iommufd" "{\"iommufd\": $iommufd}" | jq -er .device)
ioas=$(create "$VMM/iommufds/$iommufd/ioases" '{}' ioas)
mapping="{\"start\": 0, \"length\": $MEMORY, \"iova\": \"$IOVA\", \"readable\": true, \"writeable\": true}"
create "$VMM/iommufds/$iommufd/ioases/$ioas/file-mappings" "$(jq -c ".fd = $memfd" <<<"$mapping")" iova >/dev/null
hwpt=$(create "$VMM/iommufds/$iommufd/hwpts" "{\"device\": $dev, \"pageTable\": $ioas}" hwpt)
api PUT "$VMM/cdevs/$cdev/attachment" "{\"pageTable\": $hwpt}" >/dev/null
check_dma
say 'From now on it writes all other pages, a GiB in a second, round after round.'
api POST "$HOST/devices/$D1/engines" '{"access": "write", "ranges": [{"iova": "0x100001000", "length": "0x3fff000"}]}' >/dev/null
api POST "$HOST/clock" '{"advance": "1000000000"}' >/dev/null
round=$(round_written)
say "It is in round $round."

step '4. An agent makes a live update session and hands it to the VMM, which preserves memory, iommufd and drive.'
AGENT=$HOST/processes/$(create "$HOST/processes" '{"name": "agent"}' pid)
lu=$(create "$AGENT/liveupdates" '{}' fd)
held=$(create "$AGENT/liveupdates/$lu/sessions" '{"name": "vm1"}' fd)
session=$(create "$AGENT/descriptors/$held/send" "{\"to\": ${VMM##*/}}" fd)
api POST "$VMM/sessions/$session/files" "{\"fd\": $memfd, \"token\": 1}" >/dev/null
api PUT "$VMM/iommufds/$iommufd/hwpts/$hwpt/token" '{"token": 7}' >/dev/null
api POST "$VMM/sessions/$session/files" "{\"fd\": $iommufd, \"token\": 2}" >/dev/null
api POST "$VMM/sessions/$session/files" "{\"fd\": $cdev, \"token\": 3}" >/dev/null
say 'From now on the mappings cannot change:'
refused EBUSY DELETE "$VMM/iommufds/$iommufd/ioases/$ioas/mappings?iova=$IOVA&length=$MEMORY"
cursor=$(api GET "$HOST/events?after=0&limit=1000" | jq -r '.items[-1].id')
domain=$(device .domain.id)

step '5. kexec. Kernel 2 boots; processes and descriptors are gone.'
is 'the kernel that runs' 2 "$(api POST "$HOST/kexec" '{"mode": "live-update"}' | jq -r .kernel)"
say "The drive is in state $(device .state), owned by $(device .owner), still on domain $(device .domain.id)."
is 'the state of the drive' L "$(device .state)"
is 'its domain' "$domain" "$(device .domain.id)"
check_dma

step "6. The kernel's own driver is kept out."
refused EBUSY PUT "$HOST/devices/$D1/driver" '{"driver": "nvme"}'
check_dma

step '7. vfio-pci may have the drive, but a VFIO program that does not restore the session is kept out, too.'
api PUT "$HOST/devices/$D1/driver" '{"driver": "vfio-pci"}' >/dev/null
STRANGER=$HOST/processes/$(create "$HOST/processes" '{"name": "stranger"}' pid)
foreign=$(create "$STRANGER/cdevs" "{\"path\": \"$(device .cdev)\"}" fd)
refused EPERM PUT "$STRANGER/cdevs/$foreign/iommufd" "{\"iommufd\": $(create "$STRANGER/iommufds" '{}' fd)}"
check_dma

step '8. The agent retrieves the session; the new VMM takes memory, iommufd and drive out of it and binds them.'
AGENT=$HOST/processes/$(create "$HOST/processes" '{"name": "agent"}' pid)
VMM=$HOST/processes/$(create "$HOST/processes" '{"name": "vmm"}' pid)
lu=$(create "$AGENT/liveupdates" '{}' fd)
held=$(create "$AGENT/liveupdates/$lu/retrievals" '{"name": "vm1"}' fd)
session=$(create "$AGENT/descriptors/$held/send" "{\"to\": ${VMM##*/}}" fd)
memfd=$(create "$VMM/sessions/$session/files/1/retrieve" '{}' fd)
iommufd=$(create "$VMM/sessions/$session/files/2/retrieve" '{}' fd)
cdev=$(create "$VMM/sessions/$session/files/3/retrieve" '{}' fd)
dev=$(api PUT "$VMM/cdevs/$cdev/iommufd" "{\"iommufd\": $iommufd}" | jq -er .device)
is 'the state of the drive' A "$(device .state)"
say "The drive is in state $(device .state), owned by $(device .owner)."
check_dma

step '9. FINISH has nothing to do with the domain.'
api POST "$VMM/sessions/$session/finish" '{}' >/dev/null
is 'the state of the drive' A "$(device .state)"
is 'its domain' "$domain" "$(device .domain.id)"
check_dma

step '10. The HWPT of the restored domain is there already; RESTORE only tells its id.'
restored=$(api GET "$VMM/iommufds/$iommufd/restored-hwpts/7" | jq -er .hwpt)
say "It is HWPT $restored."

step '11. The VMM maps its memory in a new IOAS and moves the drive to a new HWPT, without a gap.'
ioas=$(create "$VMM/iommufds/$iommufd/ioases" '{}' ioas)
create "$VMM/iommufds/$iommufd/ioases/$ioas/file-mappings" "$(jq -c ".fd = $memfd" <<<"$mapping")" iova >/dev/null
hwpt=$(create "$VMM/iommufds/$iommufd/hwpts" "{\"device\": $dev, \"pageTable\": $ioas}" hwpt)
api PUT "$VMM/cdevs/$cdev/attachment" "{\"pageTable\": $hwpt}" >/dev/null
is 'the state of the drive' S "$(device .state)"
check_dma
check_no_gap "$cursor"
say 'Since before the kexec no access of the drive was refused.'
say 'Each page was reached at any time, and was the same memory:'
report=$(api GET "$HOST/devices/$D1/engines/1")
say "$(jq -c '{pages, continuousPages, accesses, refused}' <<<"$report")"
is 'whether there was a gap' 'true []' "$(jq -r '"\(.continuous) \(.gaps)"' <<<"$report")"

step '12. The old HWPT is destroyed, and its domain with it.'
api DELETE "$VMM/iommufds/$iommufd/hwpts/$restored" >/dev/null
is 'the domain that was restored' 'gone' \
  "$(api GET "$HOST/domains" | jq -r --argjson id "$domain" 'if any(.items[]; .id == $id) then "there" else "gone" end')"
check_dma

step '13. What the host saw, by the microsecond and the kernel that ran:'
timeline

step 'Done: the kernel was replaced, and the drive never noticed.'
