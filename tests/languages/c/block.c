// A rule in C. rule.h is what wit-bindgen makes of the contract.

#include "rule.h"
#include <stdio.h>
#include <stdlib.h>

#define MIXED "email <> lower(email) and email ilike '%@' || $1"

// The parameter $1 of all statements.
static plinth_block_sql_list_value_t domain(void) {
  static plinth_block_types_value_t value = {.tag = PLINTH_BLOCK_TYPES_VALUE_SCALAR};
  value.val.scalar.tag = PLINTH_BLOCK_TYPES_SCALAR_TEXT;
  rule_string_set(&value.val.scalar.val.text, "example.org");
  return (plinth_block_sql_list_value_t){&value, 1};
}

// How many addresses are to be changed.
static bool count_mixed(int64_t *count, plinth_block_types_error_t *error) {
  rule_string_t statement;
  rule_string_set(&statement, "select count(*) from customers where " MIXED);
  plinth_block_sql_list_value_t params = domain();
  plinth_block_sql_rows_t rows;
  if (!plinth_block_sql_query(&statement, &params, &rows, error)) return false;
  *count = rows.values.ptr[0].ptr[0].val.scalar.val.int8; // count(*) is a bigint
  plinth_block_sql_rows_free(&rows);
  return true;
}

// What was being done, and the error of the statement behind it.
static bool failed(exports_plinth_block_reconcile_failure_t *failure, const char *doing, plinth_block_types_error_t *error) {
  *failure = (exports_plinth_block_reconcile_failure_t){.cause = {.is_some = true, .val = *error}};
  rule_string_dup(&failure->message, doing);
  return false;
}

bool exports_plinth_block_reconcile_reconcile(exports_plinth_block_reconcile_outcome_t *outcome,
                                              exports_plinth_block_reconcile_failure_t *failure) {
  plinth_block_types_error_t error;
  int64_t count;
  if (!count_mixed(&count, &error)) return failed(failure, "counting addresses", &error);
  *outcome = (exports_plinth_block_reconcile_outcome_t){.tag = PLINTH_BLOCK_TYPES_OUTCOME_DONE};
  // An UPDATE that finds no row locks the table all the same.
  if (count == 0) return true;

  rule_string_t statement;
  rule_string_set(&statement, "update customers set email = lower(email) where " MIXED);
  plinth_block_sql_list_value_t params = domain();
  uint64_t updated;
  if (!plinth_block_sql_execute(&statement, &params, &updated, &error)) return failed(failure, "writing addresses", &error);
  char text[64];
  snprintf(text, sizeof text, "%llu addresses were not in lower case", (unsigned long long)updated);
  outcome->val.done.is_some = true;
  rule_string_dup(&outcome->val.done.val, text);
  return true;
}

bool exports_plinth_block_reconcile_verify(exports_plinth_block_reconcile_list_check_t *checks,
                                           exports_plinth_block_reconcile_failure_t *failure) {
  plinth_block_types_error_t error;
  int64_t count;
  if (!count_mixed(&count, &error)) return failed(failure, "counting addresses", &error);
  exports_plinth_block_reconcile_check_t *check = calloc(1, sizeof *check);
  rule_string_dup(&check->name, "every address at example.org is in lower case");
  check->held = count == 0;
  *checks = (exports_plinth_block_reconcile_list_check_t){check, 1};
  return true;
}
