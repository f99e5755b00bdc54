package runners

// Needs returns what an action asks for by the platform properties limit-cpus and
// limit-memory: CPUs, and bytes of memory; 0 where it asks for none. A value that
// is malformed counts as none: the worker refuses it with words. An action with a
// socket of its grid (see APIs) needs nothing: it waits for what it has others
// run, and these must not wait for its room.
func Needs(properties []Property) (cpus float64, memory int64) {
	for _, p := range properties {
		switch p.Name {
		case limitCPUs, limitMemory:
		case socketProperty:
			return 0, 0
		default:
			continue
		}
		limits, _, err := limitsOf(&Lease{Properties: []Property{p}}, Limits{})
		if err == nil {
			cpus, memory = tighter(cpus, limits.CPUs), tighter(memory, limits.Memory)
		}
	}
	return cpus, memory
}
