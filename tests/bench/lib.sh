# shellcheck shell=bash
# What the benchmarks in tests/bench/*.sh use. `set -eu` is on. Read by tests/bench/run, which sets $results, the file that
# their findings go to.
#
#   $tool  tests/bench/tool.c, compiled        $moonpool  the program        $work  a directory that goes away in the end
#
# Each number is a ratio of what was measured alternately in one run (A B A B …), or a count: the machine may be busy, but is it for both.

checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
bench=$checkout/tests/bench
out=$checkout/build/bench
tool=$out/tool
moonpool=$checkout/build/moonpool
results=${results:-$out/results}
export LC_ALL=C TZ=UTC
export PATH="$PATH:/usr/sbin:/sbin"
unset SSH_AUTH_SOCK MOONPOOL_PATH XDG_CONFIG_HOME

# Whatever is started is ended: `later COMMAND` is run at the end, the last one first.
work=$(mktemp -d)
at_end="rm -rf '$work'"
trap 'eval "$at_end"' EXIT
trap 'exit 130' HUP INT TERM
later() { at_end="$*; $at_end"; }

# median: of the numbers on standard input
median() {
  sort -n | awk '{ v[NR] = $1 } END { if (NR == 0) exit 1; print (NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2) }'
}
# calc EXPRESSION: awk's arithmetic
calc() { awk "BEGIN { printf \"%.4g\", $1 }"; }
# keep NAME VALUE, median_of NAME: values of one kind, and their median
keep() { echo "$2" >>"$work/values.$1"; }
median_of() { median <"$work/values.$1"; }
# ratios A B: the median of A's values divided by B's of the same round
ratios() { paste "$work/values.$1" "$work/values.$2" | awk '{ print $1 / $2 }' | median; }

# target WHAT OPERATOR LIMIT MEASURED: one line of the table; the operator is >= or <=
target() {
  local met
  met=$(awk -v m="$4" -v l="$3" -v o="$2" 'BEGIN { print (o == ">=" ? m >= l : m <= l) ? "met" : "NOT MET" }')
  printf '%s\t%s %s\t%.4g\t%s\n' "$1" "$2" "$3" "$4" "$met" >>"$results"
  printf '  %-74s %s %-5s %8.4g  %s\n' "$1" "$2" "$3" "$4" "$met"
}
# tell WHAT VALUE: something measured that has no target
tell() {
  printf '%s\t\t%s\t\n' "$1" "$2" >>"$results"
  printf '  %-74s          %8s\n' "$1" "$2"
}

# sshd_start [PREFIX…]: a server in $work/ssh, on 127.0.0.1 or $address, started by PREFIX (such as `ip netns exec b`). The host `far` of
# $ssh_config is it.
address=127.0.0.1
sshd_start() {
  local dir=$work/ssh port
  ssh_config=$dir/config
  port=$((20000 + $$ % 20000))
  mkdir -p "$dir" /run/sshd
  if [ ! -e "$dir/hostkey" ]; then
    for key in hostkey key; do ssh-keygen -q -t ed25519 -N '' -C '' -f "$dir/$key"; done
  fi
  printf '%s\n' "ListenAddress $address:$port" "HostKey $dir/hostkey" "AuthorizedKeysFile $dir/key.pub" "PidFile $dir/pid" \
    'StrictModes no' 'UsePAM no' 'PermitRootLogin yes' 'MaxStartups 100' 'SetEnv SHLVL=5' >"$dir/sshd_config"
  echo "[$address]:$port $(cut -d ' ' -f 1,2 "$dir/hostkey.pub")" >"$dir/known_hosts"
  # The same cipher for all: what is compared is the programs.
  printf '%s\n' 'Host far' "HostName $address" "Port $port" 'User root' "IdentityFile $dir/key" 'IdentityAgent none' \
    "UserKnownHostsFile $dir/known_hosts" 'GlobalKnownHostsFile /dev/null' 'Ciphers aes128-gcm@openssh.com' \
    'KexAlgorithms curve25519-sha256' >"$ssh_config"
  rm -f "$dir/pid"
  "$@" "$(command -v sshd)" -f "$dir/sshd_config" -E "$dir/log"
  until [ -s "$dir/pid" ]; do sleep 0.05; done
  later "kill $(cat "$dir/pid") || :"
}
