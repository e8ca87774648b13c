use std::{
    mem,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Notify, task::JoinHandle, time::timeout};

use super::last_change::LastChange;

/// The longest wait for the task to end.
const PATIENCE: Duration = Duration::from_secs(2);

/// Keeps the cache up to date with the changes that others make: a task that polls the number of the last change, from the first
/// lookup of a key until the registry is closed or its last clone is dropped.
#[derive(Debug, Default)]
pub(super) struct Watch {
    task: Mutex<Task>,
    signal: Arc<Signal>,
    /// The last change that the cache was told of.
    last: Mutex<Option<LastChange>>,
}

#[derive(Debug, Default)]
enum Task {
    #[default]
    NotStarted,
    Running(JoinHandle<()>),
    Ended,
}

/// Wakes the task before its time.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    wake: Notify,
    is_ending: AtomicBool,
}

impl Signal {
    /// Has the number of the last change looked at now.
    #[cfg(feature = "postgres")]
    pub(super) fn hurry(&self) {
        self.wake.notify_one();
    }

    /// Returns after this time, or when it is hurried.
    pub(super) async fn wait(&self, pause: Duration) {
        drop(timeout(pause, self.wake.notified()).await);
    }

    fn end(&self) {
        self.is_ending.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    pub(super) fn is_ending(&self) -> bool {
        self.is_ending.load(Ordering::Acquire)
    }
}

impl Watch {
    /// Sets the last change that the cache was told of. The first one is set before anything is looked up.
    pub(super) fn set_last(&self, last: LastChange) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(last);
    }

    /// Returns the last change that the cache was told of.
    pub(super) fn last(&self) -> Option<LastChange> {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what wakes the task.
    pub(super) fn signal(&self) -> Arc<Signal> {
        Arc::clone(&self.signal)
    }

    /// Starts the task, if it does not run.
    pub(super) fn start<F: Future<Output = ()> + Send + 'static>(
        &self,
        task_of: impl FnOnce() -> F,
    ) {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        let is_needed = match &*task {
            Task::NotStarted => true,
            // It ends with the runtime in which it was started.
            Task::Running(handle) => handle.is_finished(),
            Task::Ended => false,
        };
        if is_needed {
            *task = Task::Running(tokio::spawn(task_of()));
        }
    }

    /// Ends the task, and waits until its connections are closed.
    pub(super) async fn end(&self) {
        let task = {
            let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
            mem::replace(&mut *task, Task::Ended)
        };
        self.signal.end();
        if let Task::Running(mut handle) = task
            && timeout(PATIENCE, &mut handle).await.is_err()
        {
            handle.abort();
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let task = self.task.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Task::Running(handle) = task {
            handle.abort();
        }
    }
}
