package node

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write docs/configuration.md")

func testMachine(environ ...string) Machine {
	return Machine{Cores: 6, ISA: "x86-64", Environ: append([]string{"HOME=/home/u"}, environ...)}
}

func writeFile(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestDefaultsNeedNothing(t *testing.T) {
	c, err := Defaults(testMachine("BGRID_SLOTS=3"))
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []struct{ name, have, want any }{
		{"listen", c.Listen, "127.0.0.1:50051"},
		{"instance", c.Instance, "buildgrid"},
		{"data dir", c.DataDir, "/home/u/.local/state/bgrid-node"},
		{"work dir", c.WorkDir, "/home/u/.local/state/bgrid-node/work"},
		{"slots", c.Slots, 6},
		{"protection", c.ProtectionWindow, 3 * time.Hour},
		{"cas of a small disk", c.CASMaxSize.Of(100 << 30), int64(10 << 30)},
		{"cas of a large disk", c.CASMaxSize.Of(10 << 40), int64(100 << 30)},
		{"timeout", c.MaxExecutionTimeout, 7200 * time.Second},
	} {
		if v.have != v.want {
			t.Errorf("%s: have %v, want %v", v.name, v.have, v.want)
		}
	}
	if diff := cmp.Diff([]string{"runner", "OSFamily", "ISA"}, c.MatchedKeys()); diff != "" {
		t.Errorf("matched keys (-want +have):\n%s", diff)
	}
}

func TestStateDirFollowsXDG(t *testing.T) {
	for _, c := range []struct {
		environ []string
		want    string
	}{
		{[]string{"HOME=/h"}, "/h/.local/state/bgrid-node"},
		{[]string{"HOME=/h", "XDG_STATE_HOME=/x"}, "/x/bgrid-node"},
		{[]string{"HOME=/h", "XDG_STATE_HOME=relative"}, "/h/.local/state/bgrid-node"},
		{nil, ""},
	} {
		if have := (Machine{Environ: c.environ}).stateDir(); have != c.want {
			t.Errorf("%v: have %q, want %q", c.environ, have, c.want)
		}
	}
}

func TestFlagWinsOverEnvironmentOverFileOverDefault(t *testing.T) {
	file := writeFile(t, "slots: 1\ninstance: from-file\nretention: 2h\ncarry-property: [a, b]\n")
	l, err := Load(Sources{
		File:    file,
		Flags:   map[string][]string{"slots": {"3"}},
		Machine: testMachine("BGRID_SLOTS=2", "BGRID_INSTANCE=from-env", "BGRID_SERVER=client only"),
	})
	if err != nil {
		t.Fatal(err)
	}
	c := l.Config
	if c.Slots != 3 || c.Instance != "from-env" || c.Retention != 2*time.Hour {
		t.Errorf("have slots %d, instance %q, retention %s", c.Slots, c.Instance, c.Retention)
	}
	if diff := cmp.Diff([]string{"a", "b"}, c.CarryProperty); diff != "" {
		t.Errorf("carried (-want +have):\n%s", diff)
	}
	var out bytes.Buffer
	if err := l.Print(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"slots: 3 +# --slots", "instance: from-env +# BGRID_INSTANCE", "retention: 2h +# .*c.yaml:3", "listen: 127.0.0.1:50051 +# default",
	} {
		if !matches(want, out.String()) {
			t.Errorf("no line %q in\n%s", want, out.String())
		}
	}
}

func TestPrintedConfigurationMeansTheSame(t *testing.T) {
	first, err := Load(Sources{
		Flags: map[string][]string{
			"cas-max-size": {"1.5GiB"}, "platform": {"default", "label=a # b: c", "odd=x]y"}, "drain-timeout": {"0"}, "http-listen": {"off"},
			"instance": {"true"}, "empty-instance": {"yes"},
		},
		Machine: testMachine(),
	})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := first.Print(&out); err != nil {
		t.Fatal(err)
	}
	second, err := Load(Sources{File: writeFile(t, out.String()), Machine: Machine{}})
	if err != nil {
		t.Fatalf("%v in\n%s", err, out.String())
	}
	if diff := cmp.Diff(first.Config, second.Config); diff != "" {
		t.Errorf("(-first +second):\n%s", diff)
	}
}

func TestListsExpandCommasAndDefault(t *testing.T) {
	l, err := Load(Sources{Flags: map[string][]string{"match-property": {"gpu, default", "gpu"}, "platform": {"gpu=1", "zone=a"}}, Machine: testMachine()})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"gpu", "runner", "OSFamily", "ISA", "zone"}, l.Config.MatchedKeys()); diff != "" {
		t.Errorf("(-want +have):\n%s", diff)
	}
}

func TestBadConfigurationIsNamed(t *testing.T) {
	for _, c := range []struct {
		name    string
		file    string
		environ []string
		flags   map[string][]string
		want    string
	}{
		{name: "unknown key", file: "slots: 1\ncas_max_size: 1G\n", want: `c.yaml:2: unknown key "cas_max_size": did you mean "cas-max-size"?`},
		{name: "far key", file: "quux: 1\n", want: `unknown key "quux"`},
		{name: "twice", file: "slots: 1\nslots: 2\n", want: `c.yaml:2: key "slots" is already on line 1`},
		{name: "no mapping", file: "- a\n", want: "c.yaml:1: want lines of KEY: VALUE"},
		{name: "no YAML", file: "a: b: c\n", want: "c.yaml"},
		{name: "nested value", file: "slots: {a: 1}\n", want: "c.yaml:1: slots: want one value"},
		{name: "null", file: "slots:\n", want: "c.yaml:1: slots: want one value"},
		{name: "bad value in file", file: "\nslots: many\n", want: `c.yaml:2: slots: "many" is not a whole number`},
		{name: "unknown variable", environ: []string{"BGRID_SLOT=1"}, want: `environment variable BGRID_SLOT is not an option: did you mean "BGRID_SLOTS"?`},
		{name: "bad variable", environ: []string{"BGRID_RETENTION=soon"}, want: `BGRID_RETENTION: retention: "soon" is not a duration`},
		{name: "bad flag", flags: map[string][]string{"cas-max-size": {"big"}}, want: `--cas-max-size: "big" is not a size`},
		{name: "percent", flags: map[string][]string{"cas-max-size": {"120%"}}, want: "above 0% and up to 100%"},
		{name: "small", flags: map[string][]string{"cas-max-size": {"1MiB"}}, want: "--cas-max-size 1MiB: want at least 64MiB"},
		{name: "negative", flags: map[string][]string{"slots": {"-1"}}, want: "--slots -1: want 0 to 4096"},
		{name: "public", flags: map[string][]string{"listen": {"0.0.0.0:50051"}}, want: "add --allow-insecure-public-listen"},
		{name: "public http", flags: map[string][]string{"http-listen": {":8080"}}, want: "--http-listen :8080 is reachable"},
		{name: "no port", flags: map[string][]string{"listen": {"localhost"}}, want: `--listen "localhost": want HOST:PORT`},
		{name: "reserved", flags: map[string][]string{"instance": {"a/blobs"}}, want: `segment "blobs" is reserved`},
		{name: "empty instance", flags: map[string][]string{"instance": {""}}, want: "--instance: must not be empty"},
		{name: "tilde", file: "data-dir: ~/x\n", want: `"~/x": only a shell knows ~`},
		{name: "matched and carried", flags: map[string][]string{"match-property": {"network"}}, want: "either matched or carried"},
		{name: "platform", flags: map[string][]string{"platform": {"gpu"}}, want: `--platform: "gpu": want KEY=VALUE`},
		{name: "level", flags: map[string][]string{"log-level": {"loud"}}, want: "want debug, info, warn or error"},
		{name: "no home", environ: []string{"HOME="}, want: "no default for --data-dir on this machine: set it"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := Sources{Flags: c.flags, Machine: testMachine(c.environ...)}
			if c.file != "" {
				s.File = writeFile(t, c.file)
			}
			_, err := Load(s)
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("have %v, want one line with %q", err, c.want)
			}
		})
	}
}

func TestSizesAndDurations(t *testing.T) {
	for text, want := range map[string]int64{"512MiB": 512 << 20, "1 GiB": 1 << 30, "20GB": 20e9, "1.5K": 1536, "7": 7, "2T": 2 << 40} {
		if s, err := parseSize(text); err != nil || s.Bytes != want {
			t.Errorf("%q: have %d, %v, want %d", text, s.Bytes, err, want)
		}
	}
	for _, text := range []string{"", "-1", "0", "NaN", "1e300", "5 apples", "10MiB max 5MiB", "10% max x", "Inf", "0%"} {
		if s, err := parseSize(text); err == nil {
			t.Errorf("%q: have %v, want an error", text, s)
		}
	}
	for text, want := range map[string]time.Duration{"7200": 2 * time.Hour, "1h30m": 90 * time.Minute} {
		if d, err := parseDuration(text); err != nil || d != want {
			t.Errorf("%q: have %s, %v", text, d, err)
		}
	}
	for d, want := range map[time.Duration]string{3 * time.Hour: "3h", 90 * time.Second: "1m30s", time.Minute: "1m", 10 * time.Second: "10s", 0: "0s"} {
		if have := formatDuration(d); have != want {
			t.Errorf("%d: have %q, want %q", d, have, want)
		}
	}
}

func TestDocsAreCurrent(t *testing.T) {
	path := filepath.Join("..", "docs", "configuration.md")
	if *update {
		if err := os.WriteFile(path, Docs(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(Docs()), string(have)); diff != "" {
		t.Errorf("run go test ./node -run Docs -update (-want +have):\n%s", diff)
	}
}

func TestOptionsOfAClusterAreChecked(t *testing.T) {
	good := map[string][]string{"peers": {"a:1,b:1"}, "cluster-token-file": {"token"}, "node-id": {"n1"}}
	if _, err := Load(Sources{Flags: good, Machine: Machine{Cores: 1, ISA: "x86-64", Environ: []string{"HOME=/home/u"}}}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ option, value, want string }{
		{"peers", "", "--peers"},
		{"peers", "a", `want HOST:PORT or dns:NAME:PORT`},
		{"peers", "a:0", `want HOST:PORT`},
		{"peers", "dns:a:1,b:1", "stands alone"},
		{"cluster-token-file", "", "--cluster-token-file"},
		{"node-id", "a b", "--node-id"},
		{"node-id", "a@b", "--node-id"},
		{"peer-listen", "50052", "--peer-listen"},
		{"advertise-peer", ":50052", "--advertise-peer"},
		{"replicas", "0", "--replicas 0"},
		{"election-timeout", "10ms", "--election-timeout"},
	} {
		flags := map[string][]string{c.option: {c.value}}
		for k, v := range good {
			if k != c.option {
				flags[k] = v
			}
		}
		_, err := Load(Sources{Flags: flags, Machine: Machine{Cores: 1, ISA: "x86-64", Environ: []string{"HOME=/home/u"}}})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("--%s %q: %v, want %q", c.option, c.value, err, c.want)
		}
	}
}
