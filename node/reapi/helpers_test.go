package reapi

// testInstances serves one name, and not the empty one.
func testInstances(name string) instances { return instances{name: name} }
