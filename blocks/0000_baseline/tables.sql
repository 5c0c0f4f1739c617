-- The tables before any block, one statement each, parted by semicolons.
create table if not exists capabilities (
  id uuid primary key default gen_random_uuid(),
  slug varchar(255) not null unique,
  name varchar(255) not null,
  price_cents integer not null,
  is_active boolean not null default true,
  visible boolean not null default false,
  lifecycle_state varchar(20) not null default 'draft',
  last_tested_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);

-- No foreign key on capability_slug: a suite may come before its capability.
create table if not exists test_suites (
  id uuid primary key default gen_random_uuid(),
  capability_slug text not null,
  test_name text not null,
  test_type text not null,
  input jsonb not null,
  expected_output jsonb,
  validation_rules jsonb not null,
  active boolean not null default true,
  test_status text not null default 'normal',
  test_mode varchar(20) default 'live',
  estimated_cost_cents integer not null default 0,
  external_cost_cents integer default 0,
  baseline_output jsonb,
  baseline_captured_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);

create table if not exists test_run_log (
  id uuid primary key default gen_random_uuid(),
  tier text,
  started_at timestamptz,
  completed_at timestamptz,
  total_tests integer,
  passed integer,
  failed integer,
  estimated_cost_cents integer not null default 0
);

create table if not exists test_results (
  id uuid primary key default gen_random_uuid(),
  test_suite_id uuid not null references test_suites (id) on delete cascade,
  capability_slug text,
  passed boolean,
  response_time_ms integer,
  executed_at timestamptz not null default now(),
  failure_reason text
);

create table if not exists transactions (
  id uuid primary key default gen_random_uuid(),
  capability_id uuid references capabilities (id),
  status varchar(20) not null default 'pending',
  input jsonb not null,
  output jsonb,
  price_cents integer not null,
  created_at timestamptz not null default now(),
  completed_at timestamptz
);
