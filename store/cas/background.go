package cas

func (s *Store) clean()         { <-s.done }
func (s *Store) scrub()         { <-s.done }
func (s *Store) verifyIndexes() { <-s.done }
