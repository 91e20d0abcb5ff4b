/** What this process has had of processors, in ms: how long work takes, whatever else the machine does meanwhile. */
export function processorMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}
