# shellcheck shell=bash
# One stream through SSH, pulled and pushed: moonpool's libssh against the ssh program, on loopback and over a long wire (tests/bench/delay.c), where
# the windows of SSH and TCP decide. The time from the first byte to the last is taken, so connecting is not counted.
rounds=${BENCH_ROUNDS:-3}
a=bench-$$-a b=bench-$$-b

# clock_of FILE…: bytes per second from the first byte of any to the last one of all
clock_of() {
  awk 'NR == 1 || $1 < first { first = $1 } $2 > last { last = $2 } { n += $3 } END { print n / (last - first) }' "$@"
}
in_a() { if [ -n "$wired" ]; then ip netns exec "$a" "$@"; else "$@"; fi; }

# by_ssh NAME pull|push BYTES, by_moonpool NAME pull|push BYTES JOBS: keeps NAME (bytes a second) and NAME.cpu (seconds a GB, of our side)
by_ssh() {
  local cpu end=$work/end.ssh
  if [ "$2" = pull ]; then
    read -r _ cpu _ < <(in_a "$tool" pipe ssh -F "$ssh_config" far "$tool produce $3" -- "$tool" consume "$end")
  else
    read -r _ _ _ cpu _ < <(in_a "$tool" pipe "$tool" produce "$3" -- ssh -F "$ssh_config" far "$tool consume $end")
  fi
  keep "$1" "$(clock_of "$end")"
  keep "$1.cpu" "$(calc "$cpu / $3 * 1e9")"
}
by_moonpool() {
  local cpu jobs=${4:-1} produce=("$tool" produce "$3") consume=("$tool" consume "$work/end.{}")
  rm -f "$work"/end.*
  if [ "$2" = pull ]; then
    read -r _ cpu < <(in_a "$moonpool" lua "$bench/pipe.lua" "$ssh_config" -j "$jobs" far "${produce[@]}" -- local "${consume[@]}")
  else
    read -r _ cpu < <(in_a "$moonpool" lua "$bench/pipe.lua" "$ssh_config" -j "$jobs" local "${produce[@]}" -- far "${consume[@]}")
  fi
  keep "$1" "$(clock_of "$work"/end.*)"
  keep "$1.cpu" "$(calc "$cpu / $3 / $jobs * 1e9")"
}

# both NAME BYTES: alternately, in both directions
both() {
  local way round
  for round in $(seq "$rounds"); do
    for way in pull push; do
      by_ssh "$1.$way.ssh" "$way" "$2"
      by_moonpool "$1.$way.moonpool" "$way" "$2"
    done
  done
}

# wire MS: both namespaces, so many milliseconds of round trip apart, with Linux's default buffers, and the server on the far end
wire() {
  local space n=1
  for space in "$a" "$b"; do ip netns add "$space"; done
  "$out/delay" "$a" "$b" "$(calc "$1 / 2000")" >"$work/ready" &
  wire_pid=$!
  until [ -s "$work/ready" ]; do kill -0 $wire_pid; sleep 0.05; done
  for space in "$a" "$b"; do
    ip -n "$space" link set lo up
    ip -n "$space" address add "10.77.0.$n/24" dev wire
    ip -n "$space" link set wire mtu 1500 txqueuelen 10000 up
    n=$((n + 1))
  done
  buffers '4096 131072 6291456' '4096 16384 4194304'
  address=10.77.0.2 wired=yes
  sshd_start ip netns exec "$b"
}
# buffers RMEM WMEM: of TCP in both, each "least default most"
buffers() {
  for space in "$a" "$b"; do
    ip netns exec "$space" sysctl -qw net.ipv4.tcp_rmem="$1" net.ipv4.tcp_wmem="$2"
  done
}
unwire() {
  kill "$(cat "$work/ssh/pid")" "$wire_pid" || :
  wait "$wire_pid" || :
  ip netns del "$a"
  ip netns del "$b"
  wired=
}

wired=
sshd_start
both loopback "${BENCH_STREAM_BYTES:-500000000}"
for way in pull push; do
  target "stream: $way on loopback, speed to ssh" '>=' 1 "$(ratios "loopback.$way.moonpool" "loopback.$way.ssh")"
  target "stream: $way on loopback, our CPU to ssh's" '<=' 1.1 "$(ratios "loopback.$way.moonpool.cpu" "loopback.$way.ssh.cpu")"
  tell "stream: $way on loopback, our CPU seconds a GB" "$(median_of "loopback.$way.moonpool.cpu")"
done
for jobs in 1 2; do
  for round in $(seq "$rounds"); do by_moonpool "scale.$jobs" push 200000000 "$jobs"; done
done
tell 'stream: push on loopback, two jobs to one' "$(ratios scale.2 scale.1)"

if ! [ -w /dev/net/tun ] || ! ip netns list >/dev/null 2>&1; then
  tell 'stream: over a long wire' 'no /dev/net/tun here'
  return 0
fi
later "unwire 2>/dev/null || :"
for ms in 25 100; do
  wire "$ms"
  both "$ms" $((10000000000 / ms))
  target "stream: pull at $ms ms, default TCP buffers, speed to ssh" '>=' 1.3 "$(ratios "$ms.pull.moonpool" "$ms.pull.ssh")"
  target "stream: push at $ms ms, default TCP buffers, speed to ssh" '>=' 1 "$(ratios "$ms.push.moonpool" "$ms.push.ssh")"
  tell "stream: pull at $ms ms by ssh, MB/s" "$(calc "$(median_of "$ms.pull.ssh") / 1e6")"
  if [ "$ms" = 100 ]; then
    for way in pull push; do
      for round in $(seq "$rounds"); do by_moonpool "four.$way" "$way" 60000000 4; done
      target "stream: $way at 100 ms, four jobs to one" '>=' 3 "$(ratios "four.$way" "100.$way.moonpool")"
    done
    buffers '4096 131072 67108864' '4096 16384 67108864'
    both large 150000000
    target 'stream: pull at 100 ms, TCP buffers of 64 MB, speed to ssh' '>=' 2.5 "$(ratios large.pull.moonpool large.pull.ssh)"
    target 'stream: push at 100 ms, TCP buffers of 64 MB, speed to ssh' '>=' 1 "$(ratios large.push.moonpool large.push.ssh)"
  else
    target 'commands: ms of one over the round trip, at 25 ms' '<=' 3 \
      "$(calc "$(ip netns exec "$a" "$moonpool" lua "$bench/commands.lua" "$ssh_config" 60) - 25")"
  fi
  unwire
done
