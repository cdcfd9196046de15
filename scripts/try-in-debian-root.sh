#!/usr/bin/env bash
# For maintainers, on Debian and as root: tries in fresh Debian roots what a newcomer does and what the Dockerfile says.
#
#   scripts/try-in-debian-root.sh [NODE [NPM]]     major versions of Node and npm in the newcomer's root: 20 and 11
#
# 1. In a root with node, npm, git and libatomic1 (which Node's own archives need since version 25) and nothing else, no
#    Python and no compiler, an unprivileged user clones the last commit, runs `npm start`, and makes a host.
# 2. The steps of the Dockerfile are executed as they stand there. The result is served without network, without
#    capabilities and on a read-only root, as its own user and as any other uid: its health check has to pass, a host has
#    to be made, and SIGTERM has to end it in order.
#
# The roots are made by debootstrap and deleted at the end. Node and npm come from the npm registry, into /usr/local.
set -euo pipefail

SUITE=trixie
NEWCOMERS_NODE=${1:-20}
NEWCOMERS_NPM=${2:-11}
PROJECT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

refuse() {
  echo "$1" >&2
  exit 1
}

[[ $# -le 2 && $NEWCOMERS_NODE =~ ^[0-9]+$ && $NEWCOMERS_NPM =~ ^[0-9]+$ ]] || refuse "usage: $0 [NODE [NPM]], such as: $0 20 11"
[[ -e /etc/debian_version && $(id -u) == 0 ]] || refuse "This needs Debian and root: it makes Debian roots by debootstrap and enters them."
for program in debootstrap ip unshare npm git; do
  command -v $program > /dev/null || refuse "$program is missing: apt-get install debootstrap iproute2 util-linux npm git"
done

# Mounts and processes of its own: nothing is left when it ends, however it ends.
if [[ ${TRYING:-} == '' ]]; then
  TRYING=$(mktemp -d /var/tmp/holdover-roots-XXXXXX)
  trap 'rm -rf "$TRYING"' EXIT
  TRYING=$TRYING unshare --mount --pid --mount-proc --fork --kill-child "$0" "$@"
  exit
fi

step() {
  printf '\n== %s\n' "$*"
}

# enter ROOT UID DIRECTORY: sets IN to what a command is put behind to run in the root, with nothing of this machine's
# environment.
enter() {
  mountpoint -q "$1/proc" || mount -t proc proc "$1/proc"
  local privileges=(setpriv --reuid="$2" --regid="$2" --clear-groups --no-new-privs --bounding-set=-all) home=/home/node
  if [[ $2 == 0 ]]; then privileges=() home=/root; fi
  IN=(chroot "$1" "${privileges[@]}" env -i --chdir="$3" PATH=/usr/local/bin:/usr/bin:/bin HOME=$home "${CERTIFICATES[@]}")
}

# add_node ROOT NODE NPM: into /usr/local, as Node's own archives have them.
add_node() {
  npm install --global --prefix "$1/usr/local" --ignore-scripts --no-audit --no-fund --loglevel=error \
    "node-linux-$(node -p process.arch)@$2" "npm@$3" > /dev/null
}

# A proxy of this machine may have certificates of its own, which Node is told of here.
CERTIFICATES=()
if [[ ${NODE_EXTRA_CA_CERTS:-} != '' ]]; then CERTIFICATES=(NODE_EXTRA_CA_CERTS=/etc/extra-certificates.pem); fi

step "debootstrap $SUITE"
debootstrap --variant=minbase --include=git,libatomic1 "$SUITE" "$TRYING/base" > "$TRYING/log" || { tail "$TRYING/log"; exit 1; }
cp /etc/resolv.conf "$TRYING/base/etc/resolv.conf"
if [[ ${#CERTIFICATES[@]} != 0 ]]; then cp "$NODE_EXTRA_CA_CERTS" "$TRYING/base/etc/extra-certificates.pem"; fi
chroot "$TRYING/base" useradd --create-home --uid 1000 node
for program in python3 python cc gcc make; do
  [[ ! -e $TRYING/base/usr/bin/$program ]] || refuse "$program is in the root."
done

# What is asked of a service, and printed: a program for Node. It waits for nothing: the service is ready.
ASK='
  const [url, key] = process.argv.slice(1);
  const headers = { authorization: `Bearer ${key}`, "content-type": "application/json" };
  for (const [method, path, body] of [["GET", "/readyz"], ["POST", "/v1/hosts", "{\"preset\":\"vmm-lab\"}"]]) {
    const answer = await fetch(url + path, { method, headers, body });
    console.log(method, path, answer.status, (await answer.text()).slice(0, 60));
    if (!answer.ok) process.exit(1);
  }'

# address FILE PID: the address that the service has printed there, as soon as it has.
address() {
  until grep -oE 'http://[0-9.]+:[0-9]+' "$1" | head -n 1 | grep .; do
    kill -0 "$2" 2> /dev/null || { cat "$1" >&2; return 1; }
    sleep 0.2
  done
}

newcomer() {
  local root=$TRYING/newcomer log=$TRYING/log url pid
  cp -a "$TRYING/base" "$root"
  add_node "$root" "$NEWCOMERS_NODE" "$NEWCOMERS_NPM"
  git clone --quiet --bare "$PROJECT" "$root/home/node/holdover.git"
  chroot "$root" chown -R node:node /home/node
  enter "$root" 1000 /home/node
  echo "node $("${IN[@]}" node --version), npm $("${IN[@]}" npm --version), $("${IN[@]}" git --version)"
  "${IN[@]}" git clone --quiet holdover.git holdover
  enter "$root" 1000 /home/node/holdover
  # A free port: this machine may serve something else already.
  "${IN[@]}" HOLDOVER_PORT=0 npm start > "$log" 2>&1 &
  pid=$!
  url=$(address "$log" $pid)
  cat "$log"
  "${IN[@]}" node --input-type=module -e "$ASK" "$url" dev-key
  kill $pid
  wait $pid || true
  if "${IN[@]}" node --input-type=module -e "$ASK" "$url" dev-key 2> /dev/null; then refuse 'It serves after it was stopped.'; fi
  rm -rf "$root/home/node/holdover"
}

step "A newcomer: Node $NEWCOMERS_NODE, npm $NEWCOMERS_NPM and git"
newcomer

# The Dockerfile, an instruction a line, without comments.
dockerfile() {
  grep -v '^ *#' "$PROJECT/Dockerfile" | sed -e ':more' -e '/\\$/{N;s/\\\n */ /;b more' -e '}' | grep .
}

# words JSON: the words of a CMD, each followed by a zero byte.
words() {
  node -e 'for (const word of JSON.parse(process.argv[1])) process.stdout.write(`${word}\0`)' "$1"
}

# from IMAGE NAME: what an official image of Node is to this project: Debian with node, npm and the user node.
from() {
  [[ $1 =~ ^node:([0-9]+)-slim$ ]] || refuse "The Dockerfile begins with $1, and not with a node:…-slim."
  cp -a "$TRYING/base" "$TRYING/$2"
  add_node "$TRYING/$2" "${BASH_REMATCH[1]}" 11
}

# is_let_through SOURCE: by .dockerignore, it or a directory that it is in.
is_let_through() {
  local path=$1
  until grep -qxF "!$path" "$PROJECT/.dockerignore"; do
    [[ $path == */* ]] || return 1
    path=${path%/*}
  done
}

# copy STAGE WORKDIR ARGUMENTS…: from another stage, or from the last commit without what .dockerignore leaves out.
copy() {
  local root=$TRYING/$1 workdir=$2 from=$TRYING/context target
  shift 2
  if [[ $1 == --from=* ]]; then
    from=$TRYING/${1#--from=}
    shift
  fi
  target=$root/$(realpath --canonicalize-missing "/$workdir/${!#}")
  mkdir -p "$(dirname "$target")"
  [[ ${!#} != */ ]] || mkdir -p "$target"
  for source in "${@:1:$#-1}"; do
    [[ $from != "$TRYING/context" ]] || is_let_through "$source" || refuse ".dockerignore leaves out $source."
    # As Docker does: of a directory its contents.
    if [[ -d $from/$source ]]; then
      mkdir -p "$target"
      cp -a "$from/$source/." "$target"
    else
      cp -a "$from/$source" "$target"
    fi
  done
}

# Executes the instructions, and leaves the last stage in ROOT, with IMAGE_USER, IMAGE_WORKDIR, COMMAND and HEALTH.
build() {
  local line stage='' variables=() volume
  mkdir "$TRYING/context"
  git -C "$PROJECT" archive HEAD | tar -x -C "$TRYING/context"
  while read -r line; do
    echo "$line"
    case $line in
      'FROM '*)
        read -r _ image _ name <<< "$line"
        stage=${name:-image} IMAGE_WORKDIR=/ IMAGE_USER=0 variables=()
        from "$image" "$stage"
        ;;
      'WORKDIR '*) IMAGE_WORKDIR=${line#* } && mkdir -p "$TRYING/$stage$IMAGE_WORKDIR" ;;
      'COPY '*)
        read -ra arguments <<< "${line#* }"
        copy "$stage" "$IMAGE_WORKDIR" "${arguments[@]}"
        ;;
      'ENV '*) read -ra variables <<< "${line#* }" ;;
      'RUN '*)
        enter "$TRYING/$stage" "$IMAGE_USER" "$IMAGE_WORKDIR"
        "${IN[@]}" "${variables[@]}" sh -c "${line#* }"
        ;;
      'VOLUME '*) VOLUME=${line#* } ;;
      'USER '*) IMAGE_USER=$(chroot "$TRYING/$stage" id -u "${line#* }") ;;
      'HEALTHCHECK '*) mapfile -d '' HEALTH < <(words "[${line#*CMD [}") ;;
      'CMD '*) mapfile -d '' COMMAND < <(words "${line#* }") ;;
      'LABEL '* | 'EXPOSE '*) ;;
      *) refuse "This script does not know the instruction: $line" ;;
    esac
  done < <(dockerfile)
  ROOT=$TRYING/$stage
  VARIABLES=("${variables[@]}")
}

# serve UID: on a read-only root, where only the volume and /tmp can be written, without a network.
serve() {
  local uid=$1 data=$TRYING/data-$1 pid
  cp -a "$ROOT$VOLUME" "$data"
  [[ $uid == "$IMAGE_USER" ]] || chown "$uid" "$data"
  mount --bind "$data" "$ROOT$VOLUME"
  enter "$ROOT" "$uid" "$IMAGE_WORKDIR"
  IN=(nsenter "--net=/proc/$NETWORK/ns/net" "${IN[@]}" "${VARIABLES[@]}")
  ! "${IN[@]}" touch "$IMAGE_WORKDIR/written" 2> /dev/null || refuse 'The root is not read-only.'
  "${IN[@]}" HOLDOVER_TENANTS=demo:demo-key "${COMMAND[@]}" > "$TRYING/log" 2>&1 &
  pid=$!
  address "$TRYING/log" $pid > /dev/null
  "${IN[@]}" "${HEALTH[@]}" || refuse 'The health check fails.'
  "${IN[@]}" node --input-type=module -e "$ASK" http://127.0.0.1:8080 demo-key
  kill $pid
  wait $pid || { cat "$TRYING/log"; refuse "SIGTERM ended it with $?."; }
  ls -ln "$data"
  umount "$ROOT$VOLUME"
}

step 'The Dockerfile'
build
echo "$(du -sm "$ROOT$IMAGE_WORKDIR/node_modules" | cut -f1) MB of node_modules, $(du -sm "$ROOT$IMAGE_WORKDIR" | cut -f1) MB in $IMAGE_WORKDIR"
# With /proc, which is mounted in it.
mount --rbind "$ROOT" "$ROOT"
mount -o remount,bind,ro "$ROOT"
mount -t tmpfs tmpfs "$ROOT/tmp"
# A network of its own, with nothing but itself.
unshare --net sleep infinity &
NETWORK=$!
until [[ $(readlink "/proc/$NETWORK/ns/net") != "$(readlink /proc/self/ns/net)" ]]; do sleep 0.1; done
nsenter "--net=/proc/$NETWORK/ns/net" ip link set lo up
for uid in "$IMAGE_USER" 12345; do
  step "Its result as uid $uid"
  serve "$uid"
done
printf '\nAll of it works.\n'
