package logs

import "time"

// DiskSlow says that an operation of the disk below what is kept there has not
// ended after d. It is under way still.
func (m *Mail) DiskSlow(what, operation string, d time.Duration) {
	m.begin(warning).s("Disk is slow: ").t(what).s(": ").t(operation).s(" takes longer than ").t(d.String()).put()
}

// DiskWell says that the disk is no longer slow.
func (m *Mail) DiskWell(what string, d time.Duration) {
	m.begin(info).s("Disk is no longer slow: ").t(what).s(": it took ").t(d.Round(100 * time.Millisecond).String()).put()
}

// DiskFull says that there is no room for an operation, or, without one, less
// than must stay free.
func (m *Mail) DiskFull(what, operation string) {
	l := m.begin(warning).s("Disk is full: ").t(what).s(": ")
	if operation == "" {
		l = l.s("too little free space")
	} else {
		l = l.s("no room for ").t(operation)
	}
	l.s("; mail is refused until there is room").put()
}

// DiskRoom says that there is room again.
func (m *Mail) DiskRoom(what string, d time.Duration) {
	m.begin(info).s("Disk has room again: ").t(what).s(": after ").t(d.Round(100 * time.Millisecond).String()).put()
}
