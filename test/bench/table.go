package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
)

// figures are the rounds of one row.
type figures struct{ floors, products []float64 }

// ratio returns the median of the rounds' ratios; 0 without a floor or product.
func (f figures) ratio() float64 {
	var ratios []float64
	for i := range min(len(f.floors), len(f.products)) {
		ratios = append(ratios, f.products[i]/f.floors[i])
	}
	return median(ratios)
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(values))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

// line is one row as it is printed.
type line struct {
	Name    string  `json:"name"`
	Unit    string  `json:"unit"`
	Product float64 `json:"product,omitempty"`
	Floor   float64 `json:"floor,omitempty"`
	Ratio   float64 `json:"ratio,omitempty"`
	Target  float64 `json:"target,omitempty"`
	Reached bool    `json:"reached"`
	Error   string  `json:"error,omitempty"`
}

// table prints rows as they come.
type table struct {
	json   bool
	missed int
	failed int
}

func newTable(asJSON bool) *table {
	if !asJSON {
		fmt.Printf("%-50s %12s %12s %8s %8s\n%s\n", "what", "bgrid-node", "floor", "ratio", "target", strings.Repeat("-", 96))
	}
	return &table{json: asJSON}
}

func (t *table) add(r row, f figures, err error) {
	l := line{Name: r.name, Unit: r.unit, Target: r.target,
		Product: median(f.products), Floor: median(f.floors), Ratio: f.ratio()}
	switch {
	case err != nil:
		l.Error = err.Error()
		t.failed++
	case r.limit:
		l.Reached = l.Product <= r.target
	case r.least:
		l.Reached = l.Product >= r.target
	default:
		l.Reached = l.Ratio >= r.target
	}
	if err == nil && !l.Reached && r.target != 0 {
		t.missed++
	}
	if t.json {
		_ = json.NewEncoder(os.Stdout).Encode(l)
		return
	}
	fmt.Println(l.text(r))
}

func (l line) text(r row) string {
	if l.Error != "" {
		return fmt.Sprintf("%-50s FAILED: %s", l.Name, l.Error)
	}
	target, mark := "", ""
	if l.Target != 0 {
		target = fmt.Sprintf("%.2f", l.Target)
		if r.limit || r.least {
			target = fmt.Sprintf("%g %s", l.Target, l.Unit)
		}
		if !l.Reached {
			mark = "  missed"
		}
	}
	ratio := ""
	if l.Ratio != 0 {
		ratio = fmt.Sprintf("%.2f", l.Ratio)
	}
	return fmt.Sprintf("%-50s %12s %12s %8s %8s%s", l.Name+" ["+l.Unit+"]", number(l.Product), number(l.Floor), ratio, target, mark)
}

// number writes three or four significant digits; nothing for 0.
func number(v float64) string {
	switch {
	case v == 0:
		return ""
	case math.Abs(v) >= 100:
		return fmt.Sprintf("%.0f", v)
	case math.Abs(v) >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.3f", v)
}

// finish returns an error when a row could not be measured. A target that was
// missed is no error: machines differ.
func (t *table) finish() error {
	if !t.json {
		fmt.Printf("%d targets missed, %d rows failed\n", t.missed, t.failed)
	}
	if t.failed > 0 {
		return fmt.Errorf("%d rows could not be measured", t.failed)
	}
	return nil
}
