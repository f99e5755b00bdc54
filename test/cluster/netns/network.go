package netns

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

// subnet is that of every network; Here is this process's own address in it.
const (
	subnet = "10.77.0."
	Here   = subnet + "254"
)

const (
	bridge = "bridge"
	runDir = "/run/netns" // where ip keeps the names of namespaces
	lastID = 253          // of a host
)

// Host is a network namespace with an address.
type Host struct {
	Name    string
	Address string // without a port
}

// New makes an empty network: a bridge, to which this process is attached with the
// address Here. Reenter must have started the process, which has one network.
func New(ctx context.Context) error {
	if !Inside() {
		return errors.New("make a network: this process shares the machine's own")
	}
	if err := os.MkdirAll(runDir, 0o755); err != nil {
		return fmt.Errorf("make a network: %w", err)
	}
	// Names are kept as mounts. Those of this process are nobody else's.
	if err := syscall.Mount("netns", runDir, "tmpfs", 0, ""); err != nil {
		return fmt.Errorf("make a network: mount %s: %w", runDir, err)
	}
	return run(ctx, "ip", []string{"-batch", "-"},
		"link set lo up",
		"link add "+bridge+" type bridge",
		"address add "+Here+"/24 dev "+bridge,
		"link set "+bridge+" up",
	)
}

// Add attaches a host to the network; the id, 1 to 253, is the last part of its
// address. Names have at most 8 characters.
func Add(ctx context.Context, name string, id int) (*Host, error) {
	if id < 1 || id > lastID || name == "" || len(name) > 8 {
		return nil, fmt.Errorf("add host %q with id %d: want a name of 1 to 8 characters and an id from 1 to %d", name, id, lastID)
	}
	h := &Host{Name: name, Address: fmt.Sprint(subnet, id)}
	err := run(ctx, "ip", []string{"-batch", "-"},
		"netns add "+name,
		"link add to-"+name+" type veth peer name eth0 netns "+name,
		"link set to-"+name+" master "+bridge+" up")
	if err == nil {
		err = run(ctx, "ip", []string{"-n", name, "-batch", "-"},
			"link set lo up",
			"address add "+h.Address+"/24 dev eth0",
			"link set eth0 up")
	}
	if err == nil {
		err = h.nft(ctx, rules)
	}
	if err != nil {
		return nil, fmt.Errorf("add host %s: %w", name, err)
	}
	return h, nil
}

// Remove takes the host off the network. Its processes must have ended.
func (h *Host) Remove(ctx context.Context) error {
	return run(ctx, "ip", []string{"-batch", "-"}, "link delete to-"+h.Name, "netns delete "+h.Name)
}

// Exec returns what starts a program on the host when it is put before its path.
// The program keeps the process id.
func (h *Host) Exec() []string {
	nsenter, err := tool("nsenter")
	if err != nil {
		nsenter = "nsenter" // whoever runs it says that it is missing
	}
	return []string{nsenter, "--net=" + runDir + "/" + h.Name, "--"}
}

// run runs a program with lines as its input.
func run(ctx context.Context, name string, args []string, lines ...string) error {
	path, err := tool(name)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
