//! Which number is which function.

use super::abi::*;
use super::{Call, Errno, Fault};

/// Does what a program asks for; the answer is a number that the program understands.
pub(super) fn dispatch(call: &mut Call<'_>, number: u32) -> Result<u32, Fault> {
    match number {
        SYS_READ => call.read(),
        SYS_WRITE => call.write(),
        SYS_READV => call.read_vector(),
        SYS_WRITEV => call.write_vector(),
        SYS_PREAD64 => call.read_at(),
        SYS_PWRITE64 => call.write_at(),
        // Files and pipes are read and written, not moved; whoever is told so does that.
        SYS_SENDFILE64 | SYS_SPLICE | SYS_TEE | SYS_VMSPLICE => Err(Errno::EINVAL.into()),
        SYS_LLSEEK => call.seek(),
        SYS_CLOSE => call.close(),
        SYS_DUP => call.duplicate(),
        SYS_DUP3 => call.duplicate_to(),
        SYS_PIPE2 => call.pipe(),
        SYS_FCNTL64 => call.control(),
        SYS_IOCTL => call.device_control(),
        SYS_FTRUNCATE64 => call.set_size(),
        SYS_FALLOCATE => call.allocate(),
        SYS_GETDENTS64 => call.read_directory(),
        SYS_PPOLL_TIME64 => call.poll(),
        SYS_PSELECT6_TIME64 => call.select(),
        // Every write is in the transaction at once, and durable with it; nobody else can have a lock.
        SYS_FSYNC | SYS_FDATASYNC | SYS_FLOCK | SYS_FADVISE64 | SYS_SYNCFS => call.must_be_open(),

        SYS_OPENAT => call.open(),
        SYS_STATX => call.stat(),
        SYS_FACCESSAT | SYS_FACCESSAT2 => call.access(),
        SYS_MKDIRAT => call.create_directory(),
        SYS_MKNODAT => call.create_node(),
        SYS_UNLINKAT => call.unlink(),
        SYS_SYMLINKAT => call.symlink(),
        SYS_LINKAT => call.link(),
        SYS_RENAMEAT2 => call.rename(),
        SYS_READLINKAT => call.read_link(),
        SYS_TRUNCATE64 => call.truncate(),
        SYS_FCHMOD => call.set_mode_of_open(),
        SYS_FCHMODAT | SYS_FCHMODAT2 => call.set_mode(),
        SYS_FCHOWN | SYS_FCHOWNAT => call.set_owner(number),
        SYS_UTIMENSAT_TIME64 => call.set_times(),
        SYS_STATFS64 | SYS_FSTATFS64 => call.file_system(number),
        SYS_GETCWD => call.directory_path(),
        SYS_CHDIR => call.enter(),
        SYS_FCHDIR => call.enter_open(),
        SYS_UMASK => call.set_mask(),

        SYS_WAITID => call.wait(),
        SYS_KILL => call.kill(),
        SYS_TKILL => call.kill_thread(0),
        SYS_TGKILL => call.kill_thread(1),
        SYS_RT_SIGACTION => call.set_action(),
        SYS_RT_SIGPROCMASK => call.set_signal_mask(),
        SYS_RT_SIGPENDING => call.pending_signals(),
        SYS_RT_SIGSUSPEND => call.wait_for_signal(),
        SYS_GETPID | SYS_GETTID | SYS_SET_TID_ADDRESS => Ok(call.pid.0),
        SYS_GETPPID => Ok(call.state.process(call.pid)?.parent.0),
        SYS_SETPGID => call.set_group(),
        SYS_GETPGID => call.group(),
        SYS_GETSID => call.session(),
        SYS_SETSID => call.new_session(),
        SYS_GETUID | SYS_GETEUID | SYS_GETGID | SYS_GETEGID => Ok(super::processes::USER),
        // As the kernel has it: 20 less the niceness.
        SYS_GETPRIORITY => Ok(20),
        // There is one user: becoming who one is changes nothing, and neither does a rank among nobody.
        SYS_SETPRIORITY | SYS_PRCTL | SYS_SCHED_YIELD | SYS_SYNC | SYS_GETGROUPS | SYS_SETUID | SYS_SETGID
        | SYS_SETRESUID | SYS_SETRESGID | SYS_SETGROUPS => Ok(0),
        SYS_SCHED_GETAFFINITY => call.processors(),
        SYS_UNAME => call.system_name(),
        SYS_GETRUSAGE => call.usage(),
        SYS_PRLIMIT64 => call.resource_limit(),
        SYS_SYSINFO => call.system_information(),
        SYS_SOCKET => Err(Errno::EAFNOSUPPORT.into()),

        SYS_CLOCK_GETTIME64 => call.clock(),
        SYS_CLOCK_GETRES_TIME64 => call.clock_resolution(),
        SYS_CLOCK_NANOSLEEP_TIME64 => call.sleep(),
        SYS_TIMES => call.times(),
        SYS_SETITIMER => call.set_timer(),
        SYS_GETITIMER => call.timer(),
        SYS_GETRANDOM => call.random(),
        _ => Err(Errno::ENOSYS.into()),
    }
}
