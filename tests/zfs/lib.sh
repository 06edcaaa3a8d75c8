# shellcheck shell=bash
# What the tests in tests/zfs/*_test.sh use. Read by tests/zfs/run; `set -eux` is on, so a command that fails ends the test.
#
#   $TMP   the file's directory        $T   the test's own one, which it is started in        $id   in the names of all pools
#
# All pools of the machine are seen by all files, which run at the same time: names of backups (and so of properties) are used in one file only.
#
# moonpool is the one that was built in this checkout.

: "${TMP:?}" "${id:?tests/zfs/run sets it}"
checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
export tests=$checkout/tests
export MOONPOOL=$checkout/build/moonpool
export PATH="$checkout/build:$PATH"
export LC_ALL=C.UTF-8 TZ=UTC
# Nothing of root's own: no configuration, no keys, no agent.
export HOME=$TMP/home
unset SSH_AUTH_SOCK MOONPOOL_PATH XDG_CONFIG_HOME
mkdir -p "$HOME"
umask 022

# Checks. `local -; set +x` keeps what is long and tells nothing out of the trace.
fail() { local -; { set +x; } 2>/dev/null; echo "FAILED: $*"; exit 1; }
skip() { echo "$*" >"$T/skip"; exit 77; }
# assert_eq ACTUAL EXPECTED [WHAT], assert_match TEXT REGULAR-EXPRESSION, assert_contains TEXT PART
assert_eq() { [ "$1" = "$2" ] || fail "${3:-} '$1' is not the expected '$2'"; }
assert_match() { printf '%s\n' "$1" | grep -qE -e "$2" || fail "'$2' does not match '$1'"; }
assert_contains() { [[ $1 == *"$2"* ]] || fail "'$2' is not in '$1'"; }
assert_lacks() { [[ $1 != *"$2"* ]] || fail "'$2' is in '$1'"; }
exists() { zfs list -Ho name "$1" >/dev/null 2>&1; }
assert_exists() { exists "$1" || fail "there is no $1"; }
assert_missing() { ! exists "$1" || fail "there is $1"; }

# run CMD…: sets status, out and err, whatever they are
run() {
  status=0
  ("$@") >"$T/out" 2>"$T/err" || status=$?
  out=$(cat "$T/out") err=$(cat "$T/err")
  printf '%s\n' "$out" "$err"
}
# refuses CMD…: it must fail, with a message; sets status, out and err
refuses() {
  run "$@"
  [ "$status" != 0 ] || fail "this was not refused: $*"
  [ -n "$err" ] || fail "refused without a word: $*"
}

# pool NAME [SIZE_MB]: a pool on a sparse file, its name in the variable NAME, mounted below $TMP/mnt
pool() {
  truncate -s "${2:-512}M" "$TMP/$1.pool"
  zpool create -o cachefile=none -O mountpoint="$TMP/mnt/$1" -O atime=off "${id}_$1" "$TMP/$1.pool"
  export "$1=${id}_$1"
}
drop_pool() {
  zpool destroy -f "${id}_$1"
  rm -f "$TMP/$1.pool"
}

# Where a dataset is mounted, in $mountpoint.
find_mountpoint() {
  local - source target rest
  set +x
  while read -r source target rest; do
    printf -v source %b "$source"
    if [ "$source" = "$1" ]; then printf -v mountpoint %b "$target"; return; fi
  done </proc/self/mounts
  fail "$1 is not mounted"
}
# write_file DATASET KB [NAME]: that many random kilobytes, and on the disk: only then `written` shows them
files=0
write_file() {
  find_mountpoint "$1"
  files=$((files + 1))
  head -c "$(($2 * 1024))" /dev/urandom >"$mountpoint/${3:-file$files}"
  zpool sync "${1%%/*}"
}
# tree NAME: $src/NAME and $src/NAME/sub with a file each, selected for the backup NAME
tree() {
  zfs create "$src/$1"
  zfs create "$src/$1/sub"
  write_file "$src/$1" 64 first
  write_file "$src/$1/sub" 64 first
  zfs set "autobackup:$1=true" "$src/$1"
}
# forest NAME COUNT: $src/NAME with that many datasets in all, selected for the backup NAME
forest() {
  local i
  zfs create "$src/$1"
  for i in $(seq 2 "$2"); do zfs create "$src/$1/d$i"; done
  write_file "$src/$1" 64 first
  zfs set "autobackup:$1=true" "$src/$1"
}
# backup NAME [OPTION…]: into $dst/NAME, where `target NAME/sub` is that of $src/NAME/sub
backup() {
  name=$1
  shift
  moonpool autobackup ${ssh_config:+--ssh-config "$ssh_config"} "$name" "$dst/$name" "$@"
}
target() { echo "$dst/${1%%/*}/$src/$1"; }
# snapshots DATASET: their names, oldest first
snapshots() { zfs list -Hpo name -t snapshot -s createtxg -d 1 "$1"; }
count() { snapshots "$1" | wc -l; }
guid() { zfs get -Hpo value guid "$1"; }
# holds SNAPSHOT: its tags
holds() { zfs holds -H "$1" | cut -f 2 | sort; }
property() { zfs get -Hpo value "$2" "$1"; }
# The GUID and the name after the @ of each snapshot of a dataset, oldest first.
guids() { zfs list -Hpo guid,name -t snapshot -s createtxg -d 1 "$1" | sed 's/\t.*@/ /'; }
# same_guids SOURCE TARGET: the source's newest snapshot is on the target, and what has the same name on both is the same snapshot
same_guids() {
  local here there
  here=$(guids "$1")
  there=$(guids "$2")
  [ -n "$here" ] || fail "$1 has no snapshot"
  assert_contains "$there"$'\n' "${here##*$'\n'}"$'\n'
  assert_eq "$(printf '%s\n' "$here" "$there" | sort -u | cut -d ' ' -f 2 | sort | uniq -d)" '' "other snapshots of the same name on $2:"
}
# known_guids SOURCE TARGET: the target has a snapshot, and none that the source does not have
known_guids() {
  assert_exists "$2"
  [ -n "$(guids "$2")" ] || fail "$2 has no snapshot"
  assert_eq "$(comm -13 <(guids "$1" | sort) <(guids "$2" | sort))" '' "snapshots of $2 that $1 does not have:"
}
# wait_for_receive DATASET: until a zfs receive into it is under way; wait_until_idle DATASET: until none is any more
wait_for_receive() {
  local - tries=0
  set +x
  until pgrep -f "zfs (receive|recv) .*$1\$" >/dev/null; do
    [ $((tries += 1)) -lt 300 ] || fail "no zfs receive into $1"
    sleep 0.1
  done
  sleep 2 # long enough for something to be kept
}
wait_until_idle() {
  local - tries=0
  set +x
  while pgrep -f "zfs (receive|recv) .*$1\$" >/dev/null; do
    [ $((tries += 1)) -lt 300 ] || fail "a zfs receive into $1 goes on"
    sleep 0.1
  done
}

# cut_receive BASE|'' SNAPSHOT TARGET: leaves a receive that was cut off after 4 MB of the stream
cut_receive() {
  zfs send ${1:+-i "$1"} "$2" | head -c 4000000 | refuses zfs receive -s -u "$3"
}

# processes: how many processes and threads were ever started here, in $processes.
processes() {
  local - key value rest
  set +x
  while read -r key value rest; do
    if [ "$key" = processes ]; then processes=$value; fi
  done </proc/stat
}
# started CMD…: runs it, and sets started: how many were started meanwhile, by anyone, sshd and the kernel included. For files with "# alone".
started() {
  local before
  processes
  before=$processes
  "$@"
  processes
  # shellcheck disable=SC2034
  started=$((processes - before))
}

# sshd_start [NAME] [OPTION=VALUE…]: an sshd on loopback, with such options of sshd_config, that NAME (far) in $ssh_config leads to. It is stopped
# when the test ends, or with the file's last test if setup started it.
sshd_start() {
  local name=far port option keys=$TMP/keys dir
  case ${1:-} in '' | *=*) ;; *) name=$1; shift ;; esac
  dir=$T/sshd-$name
  mkdir "$dir"
  if [ ! -d "$keys" ]; then
    mkdir -m 700 "$keys"
    ssh-keygen -q -t ed25519 -N '' -C '' -f "$keys/host"
    ssh-keygen -q -t ed25519 -N '' -C '' -f "$keys/user"
    cp "$keys/user.pub" "$keys/authorized"
  fi
  mkdir -p /run/sshd
  port=2200
  while [ -e "$TMP/port-$port" ]; do port=$((port + 1)); done
  : >"$TMP/port-$port"
  {
    for option; do echo "${option/=/ }"; done
    # The last but one is the quickest to compute, where all is emulated.
    printf '%s\n' "ListenAddress 127.0.0.1:$port" "HostKey $keys/host" "AuthorizedKeysFile $keys/authorized" "PidFile $dir/pid" \
      'StrictModes no' 'UsePAM no' 'PermitRootLogin yes' 'PasswordAuthentication no' 'LogLevel VERBOSE' \
      'KexAlgorithms curve25519-sha256,curve25519-sha256@libssh.org' 'Subsystem sftp internal-sftp'
  } >"$dir/config"
  echo "[127.0.0.1]:$port $(cut -d ' ' -f 1,2 "$keys/host.pub")" >>"$T/known_hosts"
  export ssh_config=$T/ssh_config
  cat >>"$ssh_config" <<END
Host $name
  HostName 127.0.0.1
  Port $port
  User root
  IdentityFile $keys/user
  IdentitiesOnly yes
  UserKnownHostsFile $T/known_hosts
  StrictHostKeyChecking yes

END
  "$(PATH=$PATH:/usr/sbin:/sbin command -v sshd)" -f "$dir/config" -E "$dir/log"
  until [ -s "$dir/pid" ]; do sleep 0.05; done
}
# sshd_stop NAME: it and its sessions
sshd_stop() { stop_sshd "$T/sshd-${1:-far}"; }
stop_sshd() {
  local pid
  pid=$(cat "$1/pid") || return 0
  pkill -P "$pid" || :
  kill "$pid"
  while [ -e "/proc/$pid" ]; do sleep 0.05; done
  rm -rf "$1"
}
stop_what_was_started() {
  { set +ex; } 2>/dev/null
  local dir
  for dir in "$T"/sshd-*; do
    [ -d "$dir" ] && stop_sshd "$dir"
  done
}
