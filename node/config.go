package node

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/bgrid-node/bgrid-node/runners"
)

// Config is what a node needs to run: the values of the options table. Get one
// from Load, or from Defaults and change it.
type Config struct {
	Listen                    string // gRPC: host:port
	HTTPListen                string // HTTP: host:port, or "off"
	AllowInsecurePublicListen bool
	Instance                  string // of all services
	EmptyInstance             bool   // the empty instance name means Instance

	DataDir          string
	CASMaxSize       Size // of the disk of DataDir
	ProtectionWindow time.Duration
	Retention        time.Duration // of finished operations
	MaxCacheEntries  int           // of the action cache; 0: no limit but the disk

	Slots               int            // of local workers; 0: none
	Runners             []string       // of local workers; none: each that works here
	HidePath            []string       // directories that sandboxed actions do not see
	Limits              runners.Limits // of each action
	TreeCacheSize       Size           // of the disk of WorkDir
	Platform            []Property
	MatchProperty       []string
	CarryProperty       []string
	MaxExecutionTimeout time.Duration
	WorkerExpiry        time.Duration // of a remote worker that is silent
	UnmatchableGrace    time.Duration // of actions that no worker can take; 0: for ever
	WorkDir             string        // scratch and input files of local workers
	WorkCacheSize       Size          // of the disk of WorkDir

	Servers []string // of a remote worker

	Cluster ClusterConfig

	DrainTimeout time.Duration
	LogLevel     slog.Level
	LogFormat    string // auto, text or json
}

// Property is a platform property that the local workers offer.
type Property struct{ Name, Value string }

// Off is the HTTPListen that means: no HTTP.
const Off = "off"

// Validate names the first option whose value cannot work, and the rule.
func (c *Config) Validate() error {
	for _, check := range []func() error{
		c.validateListen, c.validateNames, c.validateStorage, c.validateExecution, c.validateCluster,
	} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (c *Config) validateListen() error {
	addresses := []struct{ flag, addr string }{{"listen", c.Listen}, {"http-listen", c.HTTPListen}}
	for _, a := range addresses {
		if a.flag == "http-listen" && a.addr == Off {
			continue
		}
		host, _, err := net.SplitHostPort(a.addr)
		if err != nil {
			return fmt.Errorf("--%s %q: want HOST:PORT", a.flag, a.addr)
		}
		if !isLoopback(host) && !c.AllowInsecurePublicListen {
			return fmt.Errorf("--%s %s is reachable from other machines, and whoever reaches it can run commands here: "+
				"there is no authentication yet; add --allow-insecure-public-listen if that network is trusted", a.flag, a.addr)
		}
	}
	return nil
}

func (c *Config) validateNames() error {
	for _, segment := range strings.Split(c.Instance, "/") {
		switch segment {
		case "":
			return fmt.Errorf("--instance %q: want a name without empty segments", c.Instance)
		case "blobs", "uploads", "actions", "actionResults", "operations", "capabilities", "compressed-blobs":
			return fmt.Errorf("--instance %q: the segment %q is reserved by the Remote Execution API", c.Instance, segment)
		}
	}
	return nil
}

// MinCASSize is the smallest useful size of the content-addressable storage in
// bytes: below it the ring of generations is mostly overhead.
const MinCASSize = 64 << 20

func (c *Config) validateStorage() error {
	if b := c.CASMaxSize.Bytes; b > 0 && b < MinCASSize {
		return fmt.Errorf("--cas-max-size %s: want at least %s", c.CASMaxSize, Size{Bytes: MinCASSize})
	}
	if c.ProtectionWindow < time.Second {
		return fmt.Errorf("--protection-window %s: want at least 1s", c.ProtectionWindow)
	}
	if c.Retention < time.Minute {
		return fmt.Errorf("--retention %s: want at least 1m", c.Retention)
	}
	if c.MaxCacheEntries < 0 {
		return fmt.Errorf("--max-cache-entries %d: want 0 (no limit) or more", c.MaxCacheEntries)
	}
	return nil
}

const maxSlots = 1 << 12

func (c *Config) validateExecution() error {
	if c.Slots < 0 || c.Slots > maxSlots {
		return fmt.Errorf("--slots %d: want 0 to %d", c.Slots, maxSlots)
	}
	if c.MaxExecutionTimeout < time.Second {
		return fmt.Errorf("--max-execution-timeout %s: want at least 1s", c.MaxExecutionTimeout)
	}
	if c.WorkerExpiry < time.Second {
		return fmt.Errorf("--worker-expiry %s: want at least 1s", c.WorkerExpiry)
	}
	if c.UnmatchableGrace < 0 {
		return fmt.Errorf("--unmatchable-grace %s: want 0 (wait for ever) or more", c.UnmatchableGrace)
	}
	if c.DrainTimeout < 0 {
		return fmt.Errorf("--drain-timeout %s: want 0 or more", c.DrainTimeout)
	}
	carried := make(map[string]bool, len(c.CarryProperty))
	for _, k := range c.CarryProperty {
		carried[k] = true
	}
	for _, k := range c.MatchProperty {
		if carried[k] {
			return fmt.Errorf("--match-property %s is also in --carry-property: a key is either matched or carried", k)
		}
	}
	for _, p := range c.Platform {
		if carried[p.Name] {
			return fmt.Errorf("--platform %s=%s: the key is in --carry-property, which is never matched", p.Name, p.Value)
		}
	}
	return nil
}

// MatchedKeys returns the keys of platform properties that are matched against
// workers: those configured and those that the local workers offer.
func (c *Config) MatchedKeys() []string {
	keys := append([]string(nil), c.MatchProperty...)
	for _, p := range c.Platform {
		keys = appendMissing(keys, p.Name)
	}
	return keys
}

func appendMissing(list []string, s string) []string {
	for _, have := range list {
		if have == s {
			return list
		}
	}
	return append(list, s)
}

// isLoopback tells whether only this machine reaches host. An empty host means
// every address.
func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// errEmpty is what an option says of an empty value that it cannot take.
var errEmpty = errors.New("must not be empty")
