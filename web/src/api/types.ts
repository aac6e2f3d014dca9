import type { components } from "../generated/openapi";

type Schemas = components["schemas"];
export type Problem = Schemas["Problem"];
export type Me = Schemas["Me"];
export type Machine = Schemas["Machine"];
export type Session = Schemas["Session"];
export type Recording = Schemas["Recording"];
export type SearchHit = Schemas["Hit"];
export type AuditEvent = Schemas["Event"];
export type User = Schemas["User"];
export type Token = Schemas["Token"];
export type Role = Schemas["Role"];
export type Grant = Schemas["Grant"];
export type Service = Schemas["Service"];
export type Team = Schemas["Team"];
export type AccessRequest = Schemas["AccessRequest"];
export type Change = Schemas["Change"];
export type Identity = Schemas["Identity"];
