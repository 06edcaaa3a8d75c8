# shellcheck shell=bash disable=SC2154
# The README's recipe for a cluster: three nodes that replicate among themselves are backed up into one target path, and what moves from node to node
# goes on where it was.

setup() {
  pool h4 150
  pool h5 150
  pool h6 150
  pool dst 200
}

# backup_from NODE, options: the cluster-wide backup of one node's data
backup_from() {
  local node=$1
  shift
  # Each node is a machine of its own: here its pool stands for it, and the others' datasets are not selected.
  for other in "$h4" "$h5" "$h6"; do
    if [ "$other" = "$node" ]; then zfs set autobackup:data=child "$other/data"; else zfs set autobackup:data=false "$other/data"; fi
  done
  moonpool autobackup data "$dst/cluster" --clear-refreservation --clear-mountpoint --ignore-transfer-errors --strip-path 2 --ignore-replicated --no-holds "$@"
}

# replicate FROM TO VM: what the cluster itself does
replicate() {
  zfs snapshot "$1/data/$3@__replicate_$4"
  if zfs list "$2/data/$3" >/dev/null 2>&1; then
    zfs send -I "@__replicate_$(($4 - 1))" "$1/data/$3@__replicate_$4" | zfs receive -F "$2/data/$3"
  else
    zfs send -R "$1/data/$3@__replicate_$4" | zfs receive "$2/data/$3"
  fi
}

test_a_vm_that_moves_from_node_to_node_is_one_dataset_on_the_target() {
  for node in "$h4" "$h5" "$h6"; do zfs create "$node/data"; done
  zfs create "$h4/data/vm1"
  zfs create "$h5/data/vm2"
  write_file "$h4/data/vm1" 64 a
  write_file "$h5/data/vm2" 64 a
  replicate "$h4" "$h5" vm1 1
  write_file "$h4/data/vm1" 64 b
  backup_from "$h4" --now 20260101000000
  backup_from "$h5" --now 20260101000100
  backup_from "$h6" --now 20260101000200
  same_guids "$h4/data/vm1" "$dst/cluster/vm1"
  same_guids "$h5/data/vm2" "$dst/cluster/vm2"
  assert_eq "$(zfs list -Hr -o name "$dst/cluster" | wc -l)" 3
  # vm1 moves to h5, with its snapshots; h4 keeps the replica.
  replicate "$h4" "$h5" vm1 2
  write_file "$h5/data/vm1" 64 c
  write_file "$h5/data/vm2" 64 c
  backup_from "$h4" --now 20260102000000
  backup_from "$h5" --now 20260102000100
  backup_from "$h6" --now 20260102000200
  same_guids "$h5/data/vm1" "$dst/cluster/vm1"
  same_guids "$h5/data/vm2" "$dst/cluster/vm2"
  assert_eq "$(snapshots "$dst/cluster/vm1" | grep -c @data-)" 2
  # And on to h6.
  zfs send -R "$h5/data/vm1@$(snapshots "$h5/data/vm1" | tail -1 | sed 's/.*@//')" | zfs receive "$h6/data/vm1"
  write_file "$h6/data/vm1" 64 d
  for node in "$h4" "$h5" "$h6"; do backup_from "$node" --now 20260103000000; done
  same_guids "$h6/data/vm1" "$dst/cluster/vm1"
  assert_eq "$(snapshots "$dst/cluster/vm1" | grep -c @data-)" 3
}
