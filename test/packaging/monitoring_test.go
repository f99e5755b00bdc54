package packaging

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metricsql"
	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/bgrid-node/bgrid-node/test/harness"
)

const monitoring = top + "/packaging/monitoring/"

// ruleFile is Prometheus' format of rules, as far as it is used here.
type ruleFile struct {
	Groups []struct {
		Name  string
		Rules []struct {
			Alert       string
			Expr        string
			For         string
			Labels      map[string]string
			Annotations map[string]string
		}
	}
}

func alerts(t *testing.T) ruleFile {
	t.Helper()
	data, err := os.ReadFile(monitoring + "alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file ruleFile
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	if err := dec.Decode(&file); err != nil {
		t.Fatal(err)
	}
	return file
}

// dashboard is Grafana's format, as far as it matters here.
type dashboard struct {
	Title  string
	Panels []struct {
		ID      int
		Title   string
		GridPos struct{ X, Y, W, H int }
		Targets []struct{ RefID, Expr string }
	}
	Templating struct{ List []struct{ Name, Type string } }
}

func grafana(t *testing.T) dashboard {
	t.Helper()
	data, err := os.ReadFile(monitoring + "grafana-dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var d dashboard
	if err := json.Unmarshal(data, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// expressions returns every query by where it is.
func expressions(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, g := range alerts(t).Groups {
		for _, r := range g.Rules {
			all["alert "+r.Alert] = r.Expr
		}
	}
	for _, p := range grafana(t).Panels {
		for _, target := range p.Targets {
			all["panel "+p.Title+" "+target.RefID] = target.Expr
		}
	}
	for _, example := range []string{"keda-scaledobject.yaml"} {
		data, err := os.ReadFile(top + "/packaging/examples/" + example)
		if err != nil {
			t.Fatal(err)
		}
		var object struct {
			Spec struct {
				Triggers []struct{ Metadata map[string]string }
			}
		}
		if err := yaml.Unmarshal(data, &object); err != nil {
			t.Fatalf("%s: %v", example, err)
		}
		for _, trigger := range object.Spec.Triggers {
			all[example] = trigger.Metadata["query"]
		}
	}
	return all
}

// TestQueriesNameMetricsThatExist parses every query and looks for its metrics and
// their labels among those of a running node of a cluster.
func TestQueriesNameMetricsThatExist(t *testing.T) {
	have := scrape(t)
	for where, expr := range expressions(t) {
		for _, problem := range checkQuery(expr, have) {
			t.Errorf("%s: %s", where, problem)
		}
	}
}

func TestMistakesInQueriesAreNoticed(t *testing.T) {
	have := map[string]map[string]bool{"bgrid_slots": {"platform": true}, "bgrid_seconds_bucket": {"le": true}}
	for expr, want := range map[string]string{
		`sum(bgrid_slots`:                        "unexpected",
		`sum(bgrid_slot)`:                        "no metric bgrid_slot",
		`sum by (plattform) (bgrid_slots)`:       "no label plattform",
		`bgrid_slots{runner="x"}`:                "no label runner",
		`rate(bgrid_seconds[5m])`:                "no metric bgrid_seconds",
		`sum by (le) (rate(bgrid_slots[5m])) >`:  "unexpected token",
		`bgrid_slots{platform=~"("}`:             "regexp",
		`histogram_quantil(0.9, bgrid_slots)`:    "unsupported function",
		`sum by (platform) (bgrid_slots) or foo`: "no metric foo",
	} {
		if have := strings.Join(checkQuery(expr, have), "; "); !strings.Contains(have, want) {
			t.Errorf("%s: have %q, want %q", expr, have, want)
		}
	}
	if have := checkQuery(`sum by (platform) (bgrid_slots) or vector(0)`, have); have != nil {
		t.Errorf("a good query: %q", have)
	}
}

// targetLabels are added by Prometheus.
var targetLabels = map[string]bool{"instance": true, "job": true, "__name__": true}

// checkQuery returns what is wrong with a query over metrics with these labels.
func checkQuery(expr string, have map[string]map[string]bool) []string {
	parsed, err := metricsql.Parse(expr)
	if err != nil {
		return []string{err.Error()}
	}
	var problems []string
	labels := map[string]bool{} // of all metrics of the query
	metricsql.VisitAll(parsed, func(e metricsql.Expr) {
		m, ok := e.(*metricsql.MetricExpr)
		if !ok {
			return
		}
		for _, filters := range m.LabelFilterss {
			name := ""
			for _, f := range filters {
				if f.Label == "__name__" {
					name = f.Value
				}
			}
			if have[name] == nil {
				problems = append(problems, "no metric "+name)
				continue
			}
			for l := range have[name] {
				labels[l] = true
			}
			for _, f := range filters {
				if !have[name][f.Label] && !targetLabels[f.Label] {
					problems = append(problems, fmt.Sprintf("no label %s of %s", f.Label, name))
				}
			}
		}
	})
	metricsql.VisitAll(parsed, func(e metricsql.Expr) {
		if f, ok := e.(*metricsql.FuncExpr); ok && !metricsql.IsRollupFunc(f.Name) && !metricsql.IsTransformFunc(f.Name) {
			problems = append(problems, "unsupported function "+f.Name)
		}
		if a, ok := e.(*metricsql.AggrFuncExpr); ok {
			for _, l := range a.Modifier.Args {
				if !labels[l] && !targetLabels[l] {
					problems = append(problems, "no label "+l)
				}
			}
		}
	})
	return problems
}

// scrape returns the metrics of a node that is a cluster of its own, and their labels.
func scrape(t *testing.T) map[string]map[string]bool {
	t.Helper()
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("0123456789abcdef0123456789abcdef"), 0o600); err != nil {
		t.Fatal(err)
	}
	peer, err := harness.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	n := harness.Start(t, "--peers", peer, "--peer-listen", peer, "--node-id", "n1", "--bootstrap-expect", "1", "--cluster-token-file", token, "--runner", "hosttools")
	have := map[string]map[string]bool{"up": {}}
	line := regexp.MustCompile(`(?m)^([a-z_][a-z0-9_]*)(\{[^\n]*\})? [^\n]+$`)
	label := regexp.MustCompile(`([a-z_]+)="`)
	for began := time.Now(); have["bgrid_slots"] == nil; { // until it leads, and its own worker is there
		if time.Since(began) > time.Minute {
			t.Fatalf("no slots within a minute:\n%s", n.Log())
		}
		reply, err := http.Get("http://" + n.HTTP + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(reply.Body)
		_ = reply.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range line.FindAllStringSubmatch(string(text), -1) {
			if have[m[1]] == nil {
				have[m[1]] = map[string]bool{}
			}
			for _, l := range label.FindAllStringSubmatch(m[2], -1) {
				have[m[1]][l[1]] = true
			}
		}
	}
	// One that nobody asks for has no series.
	have["bgrid_queue_actions"] = have["bgrid_slots"]
	return have
}

// Each alert says how bad it is and since when, and docs/kubernetes.md says what to do.
func TestAlertsAreExplained(t *testing.T) {
	page, err := os.ReadFile(top + "/docs/kubernetes.md")
	if err != nil {
		t.Fatal(err)
	}
	explained := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `(Bgrid\\w+)` \\|").FindAllStringSubmatch(string(page), -1) {
		explained[m[1]] = true
	}
	have := map[string]bool{}
	for _, g := range alerts(t).Groups {
		for _, r := range g.Rules {
			have[r.Alert] = true
			if s := r.Labels["severity"]; s != "critical" && s != "warning" && s != "info" {
				t.Errorf("%s: severity %q", r.Alert, s)
			}
			if _, err := time.ParseDuration(r.For); err != nil && r.For != "" {
				t.Errorf("%s: for %q", r.Alert, r.For)
			}
			if r.Annotations["summary"] == "" {
				t.Errorf("%s has no summary", r.Alert)
			}
		}
	}
	if d := cmp.Diff(have, explained); d != "" {
		t.Errorf("alerts (-) and those that docs/kubernetes.md explains (+):\n%s", d)
	}
}

func TestTheDashboardHasNoHoles(t *testing.T) {
	d := grafana(t)
	ids := map[int]bool{}
	taken := map[[2]int]string{}
	for _, p := range d.Panels {
		if p.Title == "" || ids[p.ID] || len(p.Targets) == 0 {
			t.Errorf("panel %d %q: without a title or a query, or its id is given twice", p.ID, p.Title)
		}
		ids[p.ID] = true
		g := p.GridPos
		if g.X < 0 || g.W < 1 || g.H < 1 || g.X+g.W > 24 {
			t.Errorf("panel %q is outside of the grid: %+v", p.Title, g)
		}
		for x := g.X; x < g.X+g.W; x++ {
			for y := g.Y; y < g.Y+g.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" && other != p.Title {
					t.Fatalf("panels %q and %q overlap", other, p.Title)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
	}
	if len(d.Templating.List) != 1 || d.Templating.List[0].Type != "datasource" {
		t.Errorf("variables %v, want the data source", d.Templating.List)
	}
}
