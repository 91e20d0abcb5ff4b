#!/usr/bin/env bash
# A Slurm of one's own on this machine, for tests: a controller and one node on loopback, without accounts, keys or cgroups.
#
#     scripts/private-slurm.sh start DIR [CPUS]     prints what to `eval` or source so that sbatch and the others talk to it
#     scripts/private-slurm.sh stop DIR
#
# Takes an installed slurmctld and slurmd; else Debian's or Ubuntu's packages, downloaded once into CRAYON_SLURM_CACHE (default
# ~/.cache/crayon/slurm, 3.4 MB) and unpacked there: nothing is installed. Exit status 3 where neither can be had. Tests only: anybody
# who reaches its ports on loopback can run jobs as whoever started it.
set -euo pipefail
verb=${1:?start or stop} dir=$(realpath -m "${2:?a directory}") cpus=${3:-2}
cache=${CRAYON_SLURM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/crayon/slurm}

stop() {
  local pid
  for name in slurmd slurmctld; do
    pid=$(cat "$dir/$name.pid" 2>/dev/null) || continue
    kill "$pid" 2>/dev/null || continue
    for _ in $(seq 50); do kill -0 "$pid" 2>/dev/null || continue 2; sleep 0.1; done
    kill -9 "$pid" 2>/dev/null || true
  done
}

unpack() {
  [ -e "$cache/done" ] && return
  command -v apt-get >/dev/null && command -v dpkg >/dev/null || { echo 'no slurmctld, and no apt-get to download one' >&2; exit 3; }
  mkdir -p "$cache/packages" "$cache/root"
  (cd "$cache/packages" && apt-get download -q -o Acquire::Retries=0 -o Acquire::http::Timeout=15 slurmctld slurmd slurm-client slurm-wlm-basic-plugins munge libmunge2 libhwloc15) >&2 ||
    { echo 'no slurmctld, and its packages cannot be downloaded' >&2; exit 3; }
  for package in "$cache"/packages/*.deb; do dpkg -x "$package" "$cache/root"; done
  touch "$cache/done"
}

case $verb in
stop) stop; exit ;;
start) ;;
*) echo "$verb: start or stop" >&2; exit 2 ;;
esac

if command -v slurmctld >/dev/null && command -v slurmd >/dev/null; then
  controller=$(command -v slurmctld) node=$(command -v slurmd) libraries='' plugins='' stepd=()
else
  unpack
  root=$cache/root
  plugins=$(dirname "$(find "$root/usr/lib" -name auth_none.so | head -1)")
  libraries=$(dirname "$plugins"):$plugins
  controller=$root/usr/sbin/slurmctld-wlm node=$root/usr/sbin/slurmd-wlm stepd=(-d "$root/usr/sbin/slurmstepd-wlm")
  export LD_LIBRARY_PATH=$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} PATH=$root/usr/bin:$PATH
fi

mkdir -p "$dir/state" "$dir/spool"
port=$(node -e 'const s = require("net").createServer().listen(0, "127.0.0.1", () => { console.log(s.address().port); s.close(); })')
other=$(node -e 'const s = require("net").createServer().listen(0, "127.0.0.1", () => { console.log(s.address().port); s.close(); })')
name=$(hostname -s)
cat >"$dir/slurm.conf" <<CONF
ClusterName=crayon
SlurmctldHost=$name(127.0.0.1)
SlurmctldPort=$port
SlurmdPort=$other
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
AuthType=auth/none
CredType=cred/none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0,bf_interval=1
ReturnToService=2
KillWait=10
InactiveLimit=0
MinJobAge=300
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd.pid
SlurmctldLogFile=$dir/slurmctld.log
SlurmdLogFile=$dir/slurmd.log
PlugStackConfig=$dir/plugstack.conf
${plugins:+PluginDir=$plugins}
NodeName=$name NodeAddr=127.0.0.1 CPUs=$cpus CoresPerSocket=$cpus Sockets=1 ThreadsPerCore=1 State=UNKNOWN
PartitionName=main Nodes=$name Default=YES MaxTime=INFINITE State=UP
CONF
: >"$dir/plugstack.conf"
export SLURM_CONF=$dir/slurm.conf
"$controller" -f "$SLURM_CONF" >&2
"$node" -f "$SLURM_CONF" "${stepd[@]}" >&2
for _ in $(seq 150); do
  if sinfo -h -o %T 2>/dev/null | grep -q idle; then
    echo "export SLURM_CONF=$SLURM_CONF PATH=$PATH${libraries:+ LD_LIBRARY_PATH=$LD_LIBRARY_PATH}"
    exit
  fi
  sleep 0.2
done
echo "Slurm does not come up:" >&2
tail -20 "$dir"/*.log >&2
stop
exit 3
