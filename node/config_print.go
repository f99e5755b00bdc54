package node

import (
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Print writes every value with its source, as a configuration file that means
// the same.
func (l *Loaded) Print(w io.Writer) error {
	for _, o := range l.table {
		line := o.Name + ": " + yamlValue(&o, o.get(&l.Config))
		if _, err := fmt.Fprintf(w, "%-48s # %s\n", line, l.sources[o.Name]); err != nil {
			return err
		}
	}
	return nil
}

func yamlValue(o *Option, values []string) string {
	quoted := make([]string, len(values))
	for i, v := range values {
		quoted[i] = yamlText(v, o.List)
	}
	if o.List {
		return "[" + strings.Join(quoted, ", ") + "]"
	}
	return quoted[0]
}

// yamlText quotes what YAML would read as something else.
func yamlText(s string, inList bool) string {
	if !inList || !strings.ContainsAny(s, ",[]{}") {
		var n yaml.Node
		if yaml.Unmarshal([]byte(s), &n) == nil && len(n.Content) == 1 && n.Content[0].Kind == yaml.ScalarNode &&
			n.Content[0].Value == s && n.Content[0].LineComment == "" {
			return s
		}
	}
	return fmt.Sprintf("%q", s)
}
