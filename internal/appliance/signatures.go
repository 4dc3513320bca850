package appliance

import "maps"

// Signatures gives, by the serial of a gateway, the signatures by which all that
// is held of it was scanned last.
func (s *State) Signatures() map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.file.Signatures)
}

// SetSignatures keeps those of one gateway, durably when nil is returned.
func (s *State) SetSignatures(serial, text string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file.Signatures == nil {
		s.file.Signatures = map[string]string{}
	}
	s.file.Signatures[serial] = text
	return s.write()
}
