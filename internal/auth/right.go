package auth

import "lazaret/internal/mail"

// Right is something a role may or may not do.
type Right string

// The rights. A command or a page names exactly one.
const (
	Login            Right = "login"            // the command line at all: help, version, exit
	Status           Right = "status"           // status, hosts, rates: numbers, no mail data
	QueueView        Right = "queueview"        // addresses and subjects of waiting mail
	QueueChange      Right = "queuechange"      // delete, deliver now, suspend, resume
	Logs             Right = "logs"             // grep, tail
	LogsChange       Right = "logschange"       // rollover
	ConfigView       Right = "configview"       // showconfig
	ConfigChange     Right = "configchange"     // pending changes, commit
	UserConfig       Right = "userconfig"       // administrators and their keys
	Quarantine       Right = "quarantine"       // process messages in the quarantines given to the user
	QuarantineAll    Right = "quarantineall"    // every quarantine is given
	QuarantineConfig Right = "quarantineconfig" // create, configure, delete, centralise
	SendCopy         Right = "sendcopy"         // copy of a quarantined message to any address
	CommandClient    Right = "commandclient"    // the few questions of the manager
)

// Rights gives all rights, in a fixed order.
func Rights() []Right {
	return []Right{Login, Status, QueueView, QueueChange, Logs, LogsChange, ConfigView, ConfigChange, UserConfig,
		Quarantine, QuarantineAll, QuarantineConfig, SendCopy, CommandClient}
}

// Roles gives all roles, in a fixed order.
func Roles() []mail.Role {
	return []mail.Role{mail.Administrator, mail.EmailAdmin, mail.Operator, mail.ReadOnlyOperator, mail.Guest,
		mail.HelpDesk, mail.Technician, mail.CommandClient}
}

// table is reference 1.7. Email Administrator and Help Desk have no command
// line; technicians never see a quarantine; only administrators send copies and
// keep users. A pairing administrator asks the manager's questions himself
// once, so Administrator holds CommandClient too.
var table = map[mail.Role][]Right{
	mail.Administrator: {Login, Status, QueueView, QueueChange, Logs, LogsChange, ConfigView, ConfigChange, UserConfig,
		Quarantine, QuarantineAll, QuarantineConfig, SendCopy, CommandClient},
	mail.EmailAdmin: {Status, QueueView, QueueChange, Logs, ConfigView, ConfigChange,
		Quarantine, QuarantineAll, QuarantineConfig},
	mail.Operator:         {Login, Status, QueueView, QueueChange, Logs, LogsChange, ConfigView, ConfigChange, Quarantine},
	mail.ReadOnlyOperator: {Login, Status, QueueView, Logs, ConfigView, Quarantine},
	mail.Guest:            {Login, Status, Quarantine},
	mail.HelpDesk:         {Status, Quarantine},
	mail.Technician:       {Login, Status, Logs, LogsChange},
	mail.CommandClient:    {CommandClient},
}

// Can reports whether the role has the right. An unknown role has none.
func Can(role mail.Role, right Right) bool {
	for _, r := range table[role] {
		if r == right {
			return true
		}
	}
	return false
}

// ValidRole reports whether the role exists.
func ValidRole(role mail.Role) bool {
	_, ok := table[role]
	return ok
}
