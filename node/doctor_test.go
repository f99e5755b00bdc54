package node

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

func TestMain(m *testing.M) {
	MaybeShim()
	os.Exit(m.Run())
}

func diagnose(t *testing.T) (*Diagnosis, string) {
	t.Helper()
	c, err := Defaults(Machine{Cores: 1, ISA: "x86-64", Environ: []string{"HOME=" + t.TempDir()}})
	if err != nil {
		t.Fatal(err)
	}
	d := Doctor(&c)
	var b bytes.Buffer
	if err := d.Print(&b); err != nil {
		t.Fatal(err)
	}
	return d, b.String()
}

func TestTheDoctorNamesTheRemedyOfAMissingProgram(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	d, text := diagnose(t)
	if d.Healthy() || !strings.Contains(text, "bubblewrap: not available") || !strings.Contains(text, "apt-get install bubblewrap") {
		t.Errorf("healthy: %t\n%s", d.Healthy(), text)
	}
}

// TestEachFindingThatIsBadHasARemedy holds whatever this machine can do.
func TestEachFindingThatIsBadHasARemedy(t *testing.T) {
	d, text := diagnose(t)
	if len(d.Sections) != 4 {
		t.Errorf("%d sections\n%s", len(d.Sections), text)
	}
	for _, s := range d.Sections {
		if len(s.Findings) == 0 {
			t.Errorf("%s: nothing was found out", s.Name)
		}
		for _, f := range s.Findings {
			if f.Good == (f.Remedy != "") {
				t.Errorf("%s: %+v", s.Name, f)
			}
		}
	}
}

func TestRunnersAreChosen(t *testing.T) {
	for name, c := range map[string]struct {
		config Config
		want   string
	}{
		"whatever works":         {Config{Runners: []string{"auto"}}, ""},
		"by flag":                {Config{Runners: []string{"bubblewrap", "hosttools"}}, "bubblewrap hosttools"},
		"as BuildGrid's workers": {Config{Runners: []string{"auto"}, Platform: []Property{{"runner", "hosttools"}, {"ISA", "x"}}}, "hosttools"},
	} {
		if got := strings.Join(c.config.wantedRunners(), " "); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	c := Config{Platform: []Property{{"runner", "hosttools"}, {"ISA", "x"}}}
	if got := c.offered(nil); len(got) != 1 || got[0].Name != "ISA" {
		t.Errorf("without a runner that is open it offers %v", got)
	}
}
