package reapi

import (
	"testing"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/bgrid-node/bgrid-node/store/queue"
)

func platformOf(pairs ...string) *repb.Platform {
	p := &repb.Platform{}
	for i := 0; i < len(pairs); i += 2 {
		p.Properties = append(p.Properties, &repb.Platform_Property{Name: pairs[i], Value: pairs[i+1]})
	}
	return p
}

func TestPlatformSeparatesMatchedFromCarried(t *testing.T) {
	keys := newPlatformKeys(DefaultMatchedKeys(), DefaultCarriedKeys())
	p, err := keys.sort(&repb.Action{Platform: platformOf("unixUID", "1000", "OSFamily", "linux", "ISA", "x86-64", "ISA", "x86-avx2", "ISA", "x86-64", "network", "on")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := platform{
		matched: []queue.Property{{Name: "ISA", Value: "x86-64"}, {Name: "ISA", Value: "x86-avx2"}, {Name: "OSFamily", Value: "linux"}},
		carried: []queue.Property{{Name: "network", Value: "on"}, {Name: "unixUID", Value: "1000"}},
	}
	if diff := cmp.Diff(want, p, cmp.AllowUnexported(platform{})); diff != "" {
		t.Error(diff)
	}
}

func TestPlatformOfTheActionWins(t *testing.T) {
	keys := newPlatformKeys(DefaultMatchedKeys(), nil)
	command := &repb.Command{Platform: platformOf("OSFamily", "command")}
	for name, c := range map[string]struct {
		action *repb.Action
		want   []queue.Property
	}{
		"both":              {&repb.Action{Platform: platformOf("OSFamily", "action")}, []queue.Property{{Name: "OSFamily", Value: "action"}}},
		"only the command":  {&repb.Action{}, []queue.Property{{Name: "OSFamily", Value: "command"}}},
		"the action's none": {&repb.Action{Platform: platformOf()}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := keys.sort(c.action, command)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, p.matched); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestPlatformRefusals(t *testing.T) {
	keys := newPlatformKeys([]string{"OSFamily", "ISA"}, []string{"chrootRootDigest"})
	for name, c := range map[string]struct {
		platform *repb.Platform
		code     codes.Code
		message  string
	}{
		"an unregistered key": {platformOf("OSFamily", "linux", "flavour", "x"), codes.FailedPrecondition,
			"Unregistered platform property [flavour={'x'}]. Known properties are: [{'ISA', 'OSFamily', 'chrootRootDigest', 'runner'}]"},
		"its values, sorted": {platformOf("flavour", "y", "flavour", "x"), codes.FailedPrecondition,
			"Unregistered platform property [flavour={'x', 'y'}]. Known properties are: [{'ISA', 'OSFamily', 'chrootRootDigest', 'runner'}]"},
		"keys are case sensitive": {platformOf("osfamily", "linux"), codes.FailedPrecondition,
			"Unregistered platform property [osfamily={'linux'}]. Known properties are: [{'ISA', 'OSFamily', 'chrootRootDigest', 'runner'}]"},
		"OSFamily twice": {platformOf("OSFamily", "a", "OSFamily", "b"), codes.FailedPrecondition,
			"Unique platform property [OSFamily] can only be set once. Got: [{'a', 'b'}]"},
		"two chroots": {platformOf("chrootRootDigest", "a", "chrootRootDigest", "b"), codes.FailedPrecondition,
			"Unique platform property [chrootRootDigest] can only be set once. Got: [{'a', 'b'}]"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := keys.sort(&repb.Action{Platform: c.platform}, nil)
			if status.Code(err) != c.code || status.Convert(err).Message() != c.message {
				t.Errorf("got %v", err)
			}
		})
	}
	if _, err := keys.sort(&repb.Action{Platform: platformOf("OSFamily", "a", "OSFamily", "a")}, nil); err != nil {
		t.Errorf("the same value twice is one value: %v", err)
	}
}

func TestRunnerIsResolved(t *testing.T) {
	keys := newPlatformKeys(DefaultMatchedKeys(), DefaultCarriedKeys())
	for name, c := range map[string]struct {
		platform *repb.Platform
		offers   string
		want     string
	}{
		"explicit stays":                  {platformOf("runner", "mine"), "bubblewrap", "mine"},
		"a chroot goes to userchroot":     {platformOf("chrootRootDigest", "d"), "bubblewrap", "userchroot"},
		"bubblewrap when offered":         {platformOf("OSFamily", "linux"), "bubblewrap", "bubblewrap"},
		"hosttools otherwise":             {platformOf(), "other", "hosttools"},
		"an explicit runner with chroot":  {platformOf("chrootRootDigest", "d", "runner", "bubblewrap"), "", "bubblewrap"},
		"no properties, nothing is there": {nil, "", "hosttools"},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := keys.sort(&repb.Action{Platform: c.platform}, nil)
			if err != nil {
				t.Fatal(err)
			}
			got := p.resolveRunner(func(name, value string) bool { return name == "runner" && value == c.offers })
			if got != c.want {
				t.Errorf("runner %q, want %q", got, c.want)
			}
			count := 0
			for _, property := range p.withRunner(got) {
				if property.Name == "runner" && property.Value == c.want {
					count++
				}
			}
			if count != 1 {
				t.Errorf("the runner is %d times in %v", count, p.withRunner(got))
			}
		})
	}
}
