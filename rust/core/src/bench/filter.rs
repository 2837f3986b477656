//! The filters of a bench: which events enter the trace. Programs and listeners have filters of their own.

use super::{Bench, BenchError, Tracepoint};
use crate::event::{Filter, FilterProblem, Slot};

/// What clears a filter on Linux.
const CLEAR: &str = "0";

impl Bench {
    /// Compiles a filter for a tracepoint of this bench; none for no text, and for the `0` that clears one on Linux.
    pub(super) fn compile_filter(
        &self,
        tracepoint: &Tracepoint,
        text: Option<&str>,
    ) -> Result<Option<Filter>, BenchError> {
        match text {
            None => Ok(None),
            Some(text) if text.trim() == CLEAR => Ok(None),
            Some(text) => Ok(Some(Filter::compile(&tracepoint.spec, text, self.options.cpus)?)),
        }
    }

    /// Sets which events of a tracepoint enter the trace, while it is enabled; all without a text, or with `0`.
    ///
    /// # Errors
    /// [`BenchError::Filter`]; the filter is then as it was. (On Linux it is lost.)
    pub fn set_filter(&self, tracepoint: &Tracepoint, text: Option<&str>) -> Result<(), BenchError> {
        let filter = self.compile_filter(tracepoint, text)?.map(Box::new);
        *tracepoint.filter.borrow_mut() = filter;
        Ok(())
    }

    /// Sets the filter of many tracepoints, as of a subsystem on Linux. One that cannot have it keeps the filter that it
    /// has, which is what Linux documents (6.18 forgets it). Returns those that took it.
    ///
    /// # Errors
    /// [`BenchError::Filter`] where none did: of all the reasons the first that is not about a field that there is not.
    /// [`BenchError::NoTracepoint`], with nothing changed.
    pub fn set_filters(&self, slots: &[Slot], text: Option<&str>) -> Result<Vec<Slot>, BenchError> {
        let tracepoints = slots.iter().map(|&slot| self.tracepoint(slot)).collect::<Result<Vec<_>, _>>()?;
        let (mut taken, mut refused) = (Vec::new(), None);
        for tracepoint in tracepoints {
            match self.set_filter(tracepoint, text) {
                Ok(()) => taken.push(tracepoint.slot),
                Err(error) => {
                    let better = refused.as_ref().is_none_or(|known| lacks_a_field(known) && !lacks_a_field(&error));
                    refused = if better { Some(error) } else { refused };
                }
            }
        }
        match refused {
            Some(error) if taken.is_empty() => Err(error),
            _ => Ok(taken),
        }
    }
}

fn lacks_a_field(error: &BenchError) -> bool {
    matches!(error, BenchError::Filter(error) if matches!(*error.problem, FilterProblem::UnknownField { .. }))
}

impl Tracepoint {
    /// The filter of what enters the trace, as it was written.
    #[must_use]
    pub fn filter(&self) -> Option<String> {
        self.filter.borrow().as_ref().map(|filter| filter.text().to_owned())
    }
}
