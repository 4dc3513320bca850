package logs

// CutOff says, in the life after it, that one did not end in good order, and
// what is known of it.
func (m *Mail) CutOff(known string) {
	m.begin(warning).s("The last run did not end in good order: ").t(known).put()
}

// Ends says why an appliance ends: by its administrator's or the system's wish,
// or after a failure, then with the status that the process will have.
func (m *Mail) Ends(reason string, status int) {
	level := info
	if status != 0 {
		level = critical
	}
	m.begin(level).s("Ends with status ").n(uint64(max(status, 0))).s(": ").t(reason).put()
}
