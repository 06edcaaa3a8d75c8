# shellcheck shell=bash disable=SC2154
# How many processes and threads a run over SSH starts on both sides together, sshd's own included.
# alone

setup() {
  pool src 300
  pool dst 300
  sshd_start
}

test_with_nothing_new_at_most_20_processes_and_threads_are_started_however_many_datasets() {
  local counts='' count
  for count in 11 60; do
    forest "n$count" "$count"
    backup "n$count" --jobs 2
    for way in source target; do
      fewest backup "n$count" "--ssh-$way" far
      counts="$counts $way-$count:$started"
      [ "$started" -le 20 ] || fail "$started processes and threads for $count datasets, --ssh-$way"
    done
  done
  # And with a new snapshot of each, four a dataset: sshd's child for a send, the send's thread, a receive, and the end of the old bookmark. The
  # rest is two connections with a shell, ten commands there and seven here, and this program's threads. The kernel starts as many again, for
  # itself: three threads that read for a send, two that write for a receive; that of 2.1 more than fifty, workers of its queues that come and go.
  trace_forks
  started backup n60 --ssh-source far --allow-empty
  starters=$(sed -n 's/.*sched_process_fork: comm=\(.*\) pid=.* child_comm=.*/\1/p' "$TRACING/trace" | grep -vx run | sort | uniq -c)
  umount "$TRACING"
  echo "who started how many, with a new snapshot each:
$starters"
  forks=$(echo "$starters" | awk '{ n += $1 } END { print n }')
  assert_eq "$(zfs list -Hro name -t bookmark "$src/n60" | wc -l)" 60
  [ "$forks" -le $((5 * 60 + 20)) ] || fail "$forks processes and threads for 60 datasets with a new snapshot each"
  case $(cat /sys/module/zfs/version) in 2.1.*) most=5000 ;; *) most=660 ;; esac
  [ "$started" -le $most ] || fail "$started processes and threads for 60 datasets with a new snapshot each, the kernel's own included"
  echo "processes and threads started: $counts, with a new snapshot each $forks, and $started with the kernel's own"
}

# fewest CMD…: as started, of up to three runs the one with the fewest: the kernel starts workers for pools and disks when it likes, and they count.
fewest() {
  local try least=
  for try in 1 2 3; do
    started "$@"
    echo "try $try: $started"
    if [ -z "$least" ] || [ "$started" -lt "$least" ]; then least=$started; fi
    [ "$least" -gt 20 ] || break
  done
  started=$least
}

# trace_forks: from now on the kernel writes down who starts a process or a thread, itself left out.
TRACING=$TMP/tracing
trace_forks() {
  mkdir -p "$TRACING"
  mount -t tracefs tracefs "$TRACING"
  echo 0 >"$TRACING/events/enable"
  echo 'comm != "kthreadd"' >"$TRACING/events/sched/sched_process_fork/filter"
  echo >"$TRACING/trace"
  echo 1 >"$TRACING/events/sched/sched_process_fork/enable"
}
