# shellcheck shell=sh
# What the tests of the command line share. Each test is a function; `it NAME FUNCTION` runs it in a subshell with `set -e`, in an empty
# directory of its own ($PWD), with an empty home, and prints TAP. `finish` is the last line of a file.

top=$(cd "$(dirname "$0")/../.." && pwd)
PATH="$top/${O:-build}:$PATH"
scratch=$(mktemp -d)
export PATH HOME="$scratch/home" LC_ALL=C.UTF-8
unset MOONPOOL_PATH XDG_CONFIG_HOME XDG_STATE_HOME SSH_AUTH_SOCK
mkdir "$HOME"
trap 'sshd_stop; rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM
n=0 failures=0

it() {
  n=$((n + 1))
  mkdir "$scratch/$n"
  # Not as a condition: `set -e` does nothing there.
  (set -e; cd "$scratch/$n"; "$2") >"$scratch/said" 2>&1
  if [ $? = 0 ]; then
    echo "ok $n - $1"
  else
    failures=$((failures + 1))
    echo "not ok $n - $1"
    sed 's/^/# /' "$scratch/said"
  fi
}

finish() {
  echo "1..$n"
  exit $((failures > 0))
}

# run COMMAND…: sets status, out and err, whatever they are.
run() {
  status=0
  "$@" >"$scratch/out" 2>"$scratch/err" </dev/null || status=$?
  out=$(cat "$scratch/out") err=$(cat "$scratch/err")
  echo "$* -> $status"
  cat "$scratch/out" "$scratch/err"
}

# not COMMAND…: fails if the command does not, which `! COMMAND` does only as the last one.
not() { if "$@"; then echo "this was to fail: $*"; return 1; fi; }

# same ACTUAL EXPECTED, has TEXT PATTERN (of the shell, anywhere in the text)
same() {
  [ "$1" = "$2" ] || { echo "'$1' is not '$2'"; return 1; }
}
has() {
  # shellcheck disable=SC2254
  case $1 in *$2*) ;; *) echo "'$2' is not in '$1'"; return 1 ;; esac
}

# refused STATUS PATTERN COMMAND…: it prints nothing but one line on its error stream, in which the pattern is, and ends with that status.
refused() {
  wanted=$1 pattern=$2
  shift 2
  run "$@"
  same "$status" "$wanted"
  same "$out" ''
  same "$(wc -l <"$scratch/err" | tr -d ' ')" 1
  has "$err" "$pattern"
}

# A program of that name, first in PATH, from the text on standard input.
program() {
  mkdir -p "$scratch/bin"
  { echo '#!/bin/sh'; cat; } >"$scratch/bin/$1"
  chmod 755 "$scratch/bin/$1"
  PATH="$scratch/bin:$PATH"
}

# An sshd of our own on loopback, and $ssh_config with the host "far" for it. Its commands find the programs of $scratch/far first.
sshd_start() {
  sshd=$(command -v sshd || echo /usr/sbin/sshd)
  s=$scratch/sshd
  mkdir -p "$s" "$scratch/far"
  [ "$(id -u)" != 0 ] || mkdir -p /run/sshd
  for key in hostkey key other; do ssh-keygen -q -t ed25519 -N '' -f "$s/$key"; done
  port=$((20000 + $$ % 20000))
  while :; do
    cat >"$s/sshd_config" <<END
ListenAddress 127.0.0.1:$port
HostKey $s/hostkey
AuthorizedKeysFile $s/key.pub
PidFile $s/pid
StrictModes no
UsePAM no
PermitRootLogin yes
SetEnv PATH=$scratch/far:/usr/bin:/bin
END
    "$sshd" -f "$s/sshd_config" -E "$s/log" && break
    port=$((port + 1))
  done
  while ! [ -s "$s/pid" ]; do sleep 0.02; done
  echo "[127.0.0.1]:$port $(cat "$s/hostkey.pub")" >"$s/known_hosts"
  ssh_config=$s/config
  cat >"$ssh_config" <<END
Host far
  HostName 127.0.0.1
  Port $port
  User $(id -un)
  IdentityFile $s/key
  IdentityAgent none
  UserKnownHostsFile $s/known_hosts
  GlobalKnownHostsFile /dev/null
END
}

sshd_stop() {
  [ ! -s "$scratch/sshd/pid" ] || kill "$(cat "$scratch/sshd/pid")"
}
