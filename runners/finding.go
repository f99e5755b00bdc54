package runners

// Finding is something that a machine can or cannot do for a runner.
type Finding struct {
	Good bool
	What string // one line
	// Remedy says how to mend it, or what it costs; "" when it is good.
	Remedy string
}

// Good is a Finding that something works.
func Good(what string) Finding { return Finding{Good: true, What: what} }

// Lacking is a Finding that something does not.
func Lacking(what, remedy string) Finding { return Finding{What: what, Remedy: remedy} }
