package reapi

import (
	"fmt"
	"slices"
	"strings"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/bgrid-node/bgrid-node/store/queue"
)

// Platform properties that mean something to the scheduler itself.
const (
	propertyRunner = "runner"
	propertyChroot = "chrootRootDigest"
	propertyFamily = "OSFamily"
)

// The runners that an action without the property "runner" is given to.
const (
	runnerHosttools  = "hosttools"
	runnerBubblewrap = "bubblewrap"
	runnerUserchroot = "userchroot"
)

// DefaultMatchedKeys returns the platform properties that a worker must offer
// before it gets an action which asks for them.
func DefaultMatchedKeys() []string { return []string{"ISA", propertyFamily, propertyRunner} }

// DefaultCarriedKeys returns the platform properties that are handed to the
// runner and never matched: what Bazel, BuildStream and their like set without
// meaning that a special worker is needed.
func DefaultCarriedKeys() []string {
	return []string{
		"cache-silo-key", propertyChroot, "container-image", "dockerNetwork", "dockerRunAsRoot",
		"network", "remoteApisSocketPath", "unixGID", "unixUID",
	}
}

// maxProperties bounds the platform properties of one action.
const maxProperties = 256

// platformKeys knows the registered property keys.
type platformKeys struct {
	matched map[string]bool // false: carried; absent: not registered
	known   string          // for error messages, sorted
}

func newPlatformKeys(matched, carried []string) platformKeys {
	k := platformKeys{matched: make(map[string]bool)}
	for _, name := range carried {
		k.matched[name] = false
	}
	for _, name := range matched {
		k.matched[name] = true
	}
	k.matched[propertyRunner] = true // the server itself sets it
	names := make([]string, 0, len(k.matched))
	for name := range k.matched {
		names = append(names, name)
	}
	k.known = quotedSet(names)
	return k
}

// platform is what an action asks of its worker, sorted and without duplicates.
type platform struct {
	matched []queue.Property
	carried []queue.Property
	runner  string // as the action names it; "" when the server chooses
	chroot  bool
}

// sort separates the properties of an action. Those of the Action win over the
// deprecated ones of the Command as a whole (REAPI 2.2, Action.platform).
func (k platformKeys) sort(action *repb.Action, command *repb.Command) (platform, error) {
	source, field := action.GetPlatform(), "action.platform"
	if source == nil {
		source, field = command.GetPlatform(), "command.platform"
	}
	var p platform
	if n := len(source.GetProperties()); n > maxProperties {
		return p, invalidField(field, fmt.Sprintf("has %d properties, at most %d are taken", n, maxProperties))
	}
	for _, property := range source.GetProperties() {
		name, value := property.GetName(), property.GetValue()
		if strings.ContainsRune(name, 0) || strings.ContainsRune(value, 0) {
			return p, invalidField(field, "a property has a NUL byte in it")
		}
		matched, known := k.matched[name]
		if !known {
			return p, k.unregistered(source, name)
		}
		if matched {
			p.matched = append(p.matched, queue.Property{Name: name, Value: value})
		} else {
			p.carried = append(p.carried, queue.Property{Name: name, Value: value})
		}
		switch name {
		case propertyRunner:
			p.runner = value
		case propertyChroot:
			p.chroot = true
		}
	}
	p.matched, p.carried = sortProperties(p.matched), sortProperties(p.carried)
	return p, unique(p, source)
}

// unregistered words the refusal of an unknown key as BuildGrid does.
func (k platformKeys) unregistered(source *repb.Platform, name string) error {
	return status.Errorf(codes.FailedPrecondition, "Unregistered platform property [%s=%s]. Known properties are: [%s]",
		name, quotedSet(valuesOf(source, name)), k.known)
}

// unique refuses two values for a key that can only have one.
func unique(p platform, source *repb.Platform) error {
	for _, list := range [][]queue.Property{p.matched, p.carried} {
		for i := 1; i < len(list); i++ {
			if list[i].Name != list[i-1].Name {
				continue
			}
			switch name := list[i].Name; name {
			case propertyFamily, propertyRunner, propertyChroot:
				return status.Errorf(codes.FailedPrecondition, "Unique platform property [%s] can only be set once. Got: [%s]",
					name, quotedSet(valuesOf(source, name)))
			}
		}
	}
	return nil
}

// resolveRunner chooses the runner of an action that names none: a chroot goes
// to userchroot; everything else to bubblewrap when any worker offers it,
// otherwise to hosttools. offers asks the open sessions.
func (p platform) resolveRunner(offers func(name, value string) bool) string {
	switch {
	case p.runner != "":
		return p.runner
	case p.chroot:
		return runnerUserchroot
	case offers(propertyRunner, runnerBubblewrap):
		return runnerBubblewrap
	}
	return runnerHosttools
}

// withRunner returns the matched properties with the runner among them.
func (p platform) withRunner(runner string) []queue.Property {
	if p.runner != "" {
		return p.matched
	}
	withIt := make([]queue.Property, 0, len(p.matched)+1)
	withIt = append(withIt, p.matched...)
	return sortProperties(append(withIt, queue.Property{Name: propertyRunner, Value: runner}))
}

// sortProperties sorts by name, then value, and drops repetitions.
func sortProperties(list []queue.Property) []queue.Property {
	slices.SortFunc(list, func(a, b queue.Property) int {
		if c := strings.Compare(a.Name, b.Name); c != 0 {
			return c
		}
		return strings.Compare(a.Value, b.Value)
	})
	return slices.Compact(list)
}

func valuesOf(source *repb.Platform, name string) []string {
	var values []string
	for _, property := range source.GetProperties() {
		if property.GetName() == name {
			values = append(values, property.GetValue())
		}
	}
	return values
}

// quotedSet writes {'a', 'b'}, sorted.
func quotedSet(values []string) string {
	slices.Sort(values)
	values = slices.Compact(values)
	return "{'" + strings.Join(values, "', '") + "'}"
}
