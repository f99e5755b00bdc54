package node

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// parseFile reads the configuration file: one YAML mapping from option names to
// values; a list may be a YAML sequence. It also returns the line of each key.
func parseFile(path string, data []byte) (map[string][]string, map[string]int, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	values, lines := map[string][]string{}, map[string]int{}
	if len(doc.Content) == 0 {
		return values, lines, nil
	}
	root := doc.Content[0]
	if root.Kind != yaml.MappingNode {
		return nil, nil, fmt.Errorf("%s:%d: want lines of KEY: VALUE", path, root.Line)
	}
	known, options := []string{}, map[string]Option{}
	for _, o := range everyOption() {
		known = append(known, o.Name)
		options[o.Name] = o
	}
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		o, ok := options[key.Value]
		if !ok {
			return nil, nil, fmt.Errorf("%s:%d: unknown key %q%s", path, key.Line, key.Value, DidYouMean(key.Value, known))
		}
		if first, twice := lines[o.Name]; twice {
			return nil, nil, fmt.Errorf("%s:%d: key %q is already on line %d", path, key.Line, o.Name, first)
		}
		texts, err := fileValues(&o, value)
		if err != nil {
			return nil, nil, fmt.Errorf("%s:%d: %s: %w", path, value.Line, o.Name, err)
		}
		values[o.Name], lines[o.Name] = texts, key.Line
	}
	return values, lines, nil
}

func fileValues(o *Option, value *yaml.Node) ([]string, error) {
	switch {
	case value.Kind == yaml.ScalarNode && value.Tag != "!!null":
		return []string{value.Value}, nil
	case value.Kind == yaml.SequenceNode && o.List:
		texts := []string{}
		for _, item := range value.Content {
			if item.Kind != yaml.ScalarNode {
				return nil, fmt.Errorf("line %d: want a text", item.Line)
			}
			texts = append(texts, item.Value)
		}
		return texts, nil
	case o.List:
		return nil, fmt.Errorf("want a text or a list of texts")
	}
	return nil, fmt.Errorf("want one value")
}

// DidYouMean returns a hint that names the nearest of known, or nothing when none is near.
func DidYouMean(have string, known []string) string {
	best, bestDistance := "", len(have)/2+1
	for _, k := range known {
		if d := editDistance(normal(have), normal(k)); d < bestDistance {
			best, bestDistance = k, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(": did you mean %q?", best)
}

// normal takes away what people mix up.
func normal(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '_' || r == '.' || r == ' ' {
			return '-'
		}
		return r
	}, strings.ToLower(s))
}

// editDistance counts the single-byte insertions, deletions and changes from a to b.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
