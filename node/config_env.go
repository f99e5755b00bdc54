package node

import (
	"fmt"
	"strings"
)

// configVariable is the BGRID_ variable that is no option.
const configVariable = envPrefix + "CONFIG"

// readEnv collects the options set in the environment. An unknown BGRID_
// variable is an error: a misspelt one would be ignored in silence.
func readEnv(environ []string) (map[string][]string, error) {
	names := map[string]string{}
	var known []string
	for _, o := range everyOption() {
		names[o.Env()] = o.Name
		known = append(known, o.Env())
	}
	names[configVariable] = ""
	known = append(known, configVariable)
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
