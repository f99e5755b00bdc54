package layout

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestGuaranteesNameTestsThatExist keeps the table of promises true: each row of
// docs/ARCHITECTURE.md names tests, and each test that it names is there.
func TestGuaranteesNameTestsThatExist(t *testing.T) {
	root := strings.TrimSpace(string(goList(t, "list", "-m", "-f", "{{.Dir}}")))
	page, err := os.ReadFile(filepath.Join(root, "docs", "ARCHITECTURE.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(page), "## Guarantees")
	if !found {
		t.Fatal("docs/ARCHITECTURE.md has no Guarantees")
	}
	inPackage := regexp.MustCompile("`([a-z0-9/]+)` ((?:Test[A-Za-z0-9]+(?:, | and )?)+)")
	name := regexp.MustCompile(`Test[A-Za-z0-9]+`)
	rows := 0
	for line := range strings.Lines(table) {
		if !strings.HasPrefix(line, "| P") {
			continue
		}
		rows++
		for _, m := range inPackage.FindAllStringSubmatch(line, -1) {
			sources, err := filepath.Glob(filepath.Join(root, m[1], "*_test.go"))
			if err != nil || len(sources) == 0 {
				t.Errorf("%s: no tests in %s", line[:5], m[1])
				continue
			}
			var all strings.Builder
			for _, path := range sources {
				text, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				all.Write(text)
			}
			for _, test := range name.FindAllString(m[2], -1) {
				if !strings.Contains(all.String(), "func "+test+"(") {
					t.Errorf("%s: %s has no %s", line[:5], m[1], test)
				}
			}
		}
	}
	if rows != 10 {
		t.Errorf("%d promises, want 10", rows)
	}
}
