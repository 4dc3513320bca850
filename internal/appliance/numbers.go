package appliance

import "lazaret/internal/mail"

// idBlock is how many connection numbers are reserved with one write. What is
// left of a block after a crash is skipped: a number is never given twice.
const idBlock = 10_000

// numbers are the connection numbers, in state.json as far as reserved.
type numbers struct{ icid, dcid uint64 }

// NextICID gives a number for an incoming connection. When no block can be
// reserved on disk the number is given all the same: after a crash a number in
// the log could then come twice, which is better than a closed port.
func (s *State) NextICID() mail.ICID { return mail.ICID(s.next(&s.given.icid, &s.file.ICID)) }

// NextDCID gives a number for a delivery connection.
func (s *State) NextDCID() mail.DCID { return mail.DCID(s.next(&s.given.dcid, &s.file.DCID)) }

func (s *State) next(given, reserved *uint64) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	*given++
	if *given > *reserved {
		*reserved = *given + idBlock
		if err := s.write(); err != nil && s.fault != nil {
			s.fault("state", err.Error())
		}
	}
	return *given
}

// Given gives the last numbers given.
func (s *State) Given() (mail.ICID, mail.DCID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return mail.ICID(s.given.icid), mail.DCID(s.given.dcid)
}

// settle gives back what is left of the blocks, at a clean end.
func (s *State) settle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.file.ICID, s.file.DCID = s.given.icid, s.given.dcid
}
