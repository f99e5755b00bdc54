// Package props reads the platform properties that mean something to a sandbox.
// They are carried to the worker and never matched.
package props

import (
	"strconv"

	"github.com/bgrid-node/bgrid-node/runners"
)

// Names of platform properties.
const (
	UnixUID = "unixUID" // the user inside, 0 by default
	UnixGID = "unixGID" // the group inside, 0 by default
	Network = "network" // "on": the host's network; anything else: none
)

// Sandbox is what an action asks of its sandbox.
type Sandbox struct {
	UID, GID int
	Network  bool
}

// maxID is the largest user or group id; the one above means "none".
const maxID = 1<<32 - 2

// Read reads the properties. A malformed one is a *runners.Failure.
func Read(list []runners.Property) (Sandbox, error) {
	var s Sandbox
	for _, p := range list {
		switch p.Name {
		case UnixUID, UnixGID:
			id, err := strconv.ParseUint(p.Value, 10, 32)
			if err != nil || id > maxID {
				return s, runners.Unfit("the platform property %s is %q: want a number from 0 to %d", p.Name, p.Value, maxID)
			}
			if p.Name == UnixUID {
				s.UID = int(id)
			} else {
				s.GID = int(id)
			}
		case Network:
			s.Network = p.Value == "on"
		}
	}
	return s, nil
}
