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
    for way in source target; do
      name=n$count$way
      forest "$name" "$count"
      backup "$name" "--ssh-$way" far
      started backup "$name" "--ssh-$way" far
      counts="$counts $way-$count:$started"
      [ "$started" -le 20 ] || fail "$started processes and threads for $count datasets, --ssh-$way"
    done
  done
  # And with a new snapshot of each: a send with its thread, sshd's child for it, a receive, and what lets the old bookmark go. The kernel starts as
  # many again: three threads that read for a send, two that write for a receive.
  started backup n60source --ssh-source far --allow-empty
  [ "$started" -le 720 ] || fail "$started processes and threads for 60 datasets with a new snapshot each"
  echo "processes and threads started: $counts, with a new snapshot each $started"
}
