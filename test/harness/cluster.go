package harness

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// Ports of a node that has an address of its own.
const (
	ownGRPC = 50051
	ownPeer = 50052
	ownHTTP = 8080
)

// formPatience is far above what a cluster needs to form, or a node to be ready
// again, on a busy machine.
const formPatience = 90 * time.Second

// Place is where a node runs. The zero value is this machine's loopback address,
// with free ports.
type Place struct {
	Address string   // an IP address of its own
	Exec    []string // a command that starts a program there, before its path
}

// ClusterOptions say how a cluster is started; all but Args and Bare is needed.
type ClusterOptions struct {
	Binary string
	Dir    string  // of everything: the data, the logs and the token
	Places []Place // of the nodes, one each
	Args   []string
	// Bare starts as many unrelated single nodes instead, without any flag of clusters.
	Bare bool
}

// Cluster is nodes that are one grid.
type Cluster struct {
	Members []*Member
	options ClusterOptions
	token   []byte
}

// Member is a node of a cluster, running or not.
type Member struct {
	*Node // of the last start
	ID    string
	Place Place
	Peer  string // address for its peers

	options Options
	logFile *os.File
}

// StartCluster starts nodes n1, n2 and so on, and returns when all are ready. The
// caller ends it with Close.
func StartCluster(ctx context.Context, o ClusterOptions) (*Cluster, error) {
	c := &Cluster{options: o, token: []byte(rand.Text())}
	if err := os.MkdirAll(o.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("start cluster: %w", err)
	}
	if err := os.WriteFile(c.tokenFile(), c.token, 0o600); err != nil {
		return nil, fmt.Errorf("start cluster: %w", err)
	}
	for i, place := range o.Places {
		m, err := c.member(fmt.Sprint("n", i+1), place)
		if err != nil {
			c.Close()
			return nil, fmt.Errorf("start cluster: %w", err)
		}
		c.Members = append(c.Members, m)
	}
	var starting errgroup.Group
	for _, m := range c.Members {
		m.options.Args = c.args(m)
		starting.Go(func() error { return m.start(ctx) })
	}
	if err := starting.Wait(); err != nil {
		err = fmt.Errorf("start cluster: %w\n%s", err, c.Logs())
		c.Close()
		return nil, err
	}
	return c, nil
}

// member gives a node its addresses and its log.
func (c *Cluster) member(id string, place Place) (*Member, error) {
	m := &Member{ID: id, Place: place}
	o := Options{Binary: c.options.Binary, Dir: filepath.Join(c.options.Dir, id), Exec: place.Exec, Ready: Serving}
	if c.options.Bare {
		o.Ready = nil
	}
	for _, a := range []struct {
		address *string
		port    int
	}{{&o.GRPC, ownGRPC}, {&o.HTTP, ownHTTP}, {&m.Peer, ownPeer}} {
		*a.address = place.Address + ":" + strconv.Itoa(a.port)
		if place.Address != "" {
			continue
		}
		var err error
		if *a.address, err = FreeAddress(); err != nil {
			return nil, err
		}
	}
	var err error
	m.logFile, err = os.OpenFile(filepath.Join(c.options.Dir, id+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	o.Log = m.logFile
	m.options = o
	return m, err
}

// args are those of serve, besides what every node is given.
func (c *Cluster) args(m *Member) []string {
	args := []string{"--allow-insecure-public-listen"}
	if !c.options.Bare {
		var peers []string
		for _, p := range c.Members {
			peers = append(peers, p.Peer)
		}
		args = append(args, "--node-id", m.ID, "--peer-listen", m.Peer, "--peers", strings.Join(peers, ","),
			"--bootstrap-expect", strconv.Itoa(len(c.Members)), "--cluster-token-file", c.tokenFile())
	}
	return append(args, c.options.Args...)
}

func (c *Cluster) tokenFile() string { return filepath.Join(c.options.Dir, "token") }

// Servers returns the gRPC addresses of all nodes.
func (c *Cluster) Servers() []string {
	var all []string
	for _, m := range c.Members {
		all = append(all, m.options.GRPC)
	}
	return all
}

// Close kills what runs.
func (c *Cluster) Close() {
	for _, m := range c.Members {
		m.Kill()
		_ = m.logFile.Close()
	}
}

// Stop ends all nodes at once, as a service manager does.
func (c *Cluster) Stop() error {
	var stopping errgroup.Group
	for _, m := range c.Members {
		stopping.Go(m.Stop)
	}
	return stopping.Wait()
}

// Await returns when every node is ready.
func (c *Cluster) Await(ctx context.Context) error {
	for _, m := range c.Members {
		if err := m.Await(ctx, formPatience); err != nil {
			return fmt.Errorf("%s: %w", m.ID, err)
		}
	}
	return nil
}

// start starts the node and waits until it is ready.
func (m *Member) start(ctx context.Context) error {
	if err := m.Launch(); err != nil {
		return err
	}
	return m.Await(ctx, formPatience)
}

// Launch starts the node, which must not be running, and does not wait for it.
func (m *Member) Launch() error {
	fmt.Fprintf(m.logFile, "--- %s starts at %s\n", m.ID, time.Now().Format(time.TimeOnly))
	n, err := Spawn(m.options)
	if err != nil {
		return err
	}
	m.Node = n
	return nil
}

// Again starts the node, which must not be running, and waits until it is ready.
func (m *Member) Again(ctx context.Context) error { return m.start(ctx) }

// Running tells whether the node's process is there.
func (m *Member) Running() bool {
	if m.Node == nil {
		return false
	}
	select {
	case <-m.Exited():
		return false
	default:
		return true
	}
}

// Kill ends the node by SIGKILL, if it runs.
func (m *Member) Kill() {
	if m.Node != nil {
		m.Node.Kill()
	}
}

// Wipe removes the data of the node, which must not be running.
func (m *Member) Wipe() error {
	if m.Running() {
		return errors.New("wipe the data of a running node")
	}
	return os.RemoveAll(m.options.Dir)
}

// DataDir is the node's data directory.
func (m *Member) DataDir() string { return m.options.Dir }

// Binary is the bgrid-node that runs.
func (c *Cluster) Binary() string { return c.options.Binary }
