package node

import (
	"fmt"
	"strings"
)

// clientVariables are those BGRID_ variables that other subcommands read; the
// server leaves them alone.
var clientVariables = [...]string{"BGRID_CONFIG", "BGRID_SERVER"}

// readEnv collects the options set in the environment. An unknown BGRID_
// variable is an error: a misspelt one would be ignored in silence.
func readEnv(environ []string) (map[string][]string, error) {
	names := map[string]string{}
	var known []string
	for _, o := range Table() {
		names[o.Env()] = o.Name
		known = append(known, o.Env())
	}
	for _, v := range clientVariables {
		known = append(known, v)
		names[v] = ""
	}
	values := map[string][]string{}
	for _, kv := range environ {
		variable, value, ok := strings.Cut(kv, "=")
		if !ok || !strings.HasPrefix(variable, envPrefix) {
			continue
		}
		name, ok := names[variable]
		if !ok {
			return nil, fmt.Errorf("environment variable %s is not an option%s", variable, DidYouMean(variable, known))
		}
		if name != "" {
			values[name] = []string{value}
		}
	}
	return values, nil
}
